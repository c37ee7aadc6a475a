"""What a document is like, and which documents go where."""
