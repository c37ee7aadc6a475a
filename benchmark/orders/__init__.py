"""Orders of rows: do they look drawn, what do they cost, and what do they do to a model?"""
