"""Tokenizations of one dataset side by side: figures, pictures, training results."""
