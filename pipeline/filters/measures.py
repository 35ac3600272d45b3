"""Measures that rules of several sources share."""

from pipeline.filters.passage import Passage, repeated_elements


def number_of_words(passage: Passage) -> float:
    """Words that hold more than punctuation."""
    return len(passage.terms)


def duplicate_line_characters(passage: Passage) -> float:
    """The share of the lines' characters that stand in a line that the text holds already."""
    return repeated_elements(passage.bare_lines)[1]
