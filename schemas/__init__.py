"""The ground: forms that the pipeline writes and the trainer reads. Imports nothing else of m3w."""
