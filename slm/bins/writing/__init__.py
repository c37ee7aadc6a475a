"""How do tokens become bins: all of them as they are, or those that a selection takes?"""
