"""Datasets of the Hugging Face hub, as files of text."""
