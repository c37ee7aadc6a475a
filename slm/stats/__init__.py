"""What bins are like, in figures."""
