"""What stands in a row? Packing, pieces and mixing, their inverse and limits, in NumPy."""
