"""Pairs: one medium and one text about it."""
