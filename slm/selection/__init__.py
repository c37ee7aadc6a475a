"""What is a document like, and which documents go where?"""
