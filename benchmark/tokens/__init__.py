"""How fast tokenizers are, and how fast vocabularies are trained."""
