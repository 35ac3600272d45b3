"""Reading crawls: from the arguments of a command to a stream of records."""
