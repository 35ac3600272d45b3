"""Near duplicates of texts."""
