"""Texts for the tests of filters: distinct words, and the drop that one source gives a text."""

from itertools import islice, product

from pipeline.filters.passage import Passage
from pipeline.filters.rule import RuleConfig, Source, judge
from schemas.drops import Drop


def distinct_words(number: int) -> list[str]:
    """As many different words of five letters, none of them in any word list."""
    return ["".join(letters) for letters in islice(product("bcdfghjklm", repeat=5), number)]


def drop_of(source: Source, config: RuleConfig, *paragraphs: str, language: str = "en") -> Drop | None:
    """What a source's rules say of a text of these paragraphs."""
    return judge(Passage(list(paragraphs), language), source, config).drop


def not_judged_of(source: Source, config: RuleConfig, *paragraphs: str, language: str) -> list[str]:
    """The rules that do not judge a text of these paragraphs, without their source's name."""
    rules = judge(Passage(list(paragraphs), language), source, config).not_judged
    return [rule.removeprefix(f"{source.name}.") for rule in rules]


def only(config_type: type[RuleConfig], *names: str) -> RuleConfig:
    """A config of which all rules but the named ones are off."""
    fields = set(config_type.__struct_fields__) - set(RuleConfig.__struct_fields__)
    assert set(names) <= fields
    return config_type(enabled=True, off=sorted(fields - set(names)))
