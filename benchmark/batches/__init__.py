"""Batches and training steps, timed on this device."""
