"""Text to the exact token bins that a small language model trains on, and batches from them."""

__version__ = "0.1.0"
