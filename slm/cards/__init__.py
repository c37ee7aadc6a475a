"""What travels with bins that are published: what they are, from where, under which license."""
