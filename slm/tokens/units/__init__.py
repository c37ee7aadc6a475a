"""The text of a dataset in pieces of work: made in any order, anywhere, and collected."""
