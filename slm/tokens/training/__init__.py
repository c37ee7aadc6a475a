"""How is a vocabulary trained on text?"""
