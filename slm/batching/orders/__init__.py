"""Which documents, and of which source, stand in a row? Packing and mixing, in NumPy."""
