"""Text to bins, timed beside the notebook's recipe."""
