"""Bins for the readers of other trainers: links where bytes allow it, headers where not."""
