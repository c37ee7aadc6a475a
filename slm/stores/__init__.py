"""Bins in object storage: opened by URL, brought as they are needed, sent once."""
