"""What people run: the command line, one file a stage. Wiring, arguments and printing; heavy imports stand inside the subcommands."""
