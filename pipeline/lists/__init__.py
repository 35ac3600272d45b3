"""Lists of what is not wanted."""
