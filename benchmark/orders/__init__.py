"""Orders: is every one as likely as every other?"""
