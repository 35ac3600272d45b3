"""Taking pages and media out of a finished run, for good."""
