"""How bins are kept, fetched and proven. DVC and git are known here alone."""
