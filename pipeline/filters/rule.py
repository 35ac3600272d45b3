"""What a rule is, and how a row of them judges a text.

A source (Gopher, OBELICS, C4, FineWeb) is a tuple of rules beside a config whose fields are the thresholds, under the rules' own names. A rule
is a measure of a passage and the side of the threshold that is kept; the first rule that a text fails is its reason. A measure that has
nothing to say about a text (no word list for its language, a script without words) gives None: the rule does not judge, and says so.
"""

import difflib
from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

import msgspec

from pipeline.filters.passage import Passage
from schemas.drops import Drop, DropKind, DropReason
from schemas.errors import ConfigError

Measure: TypeAlias = Callable[[Passage], float | None]


class Rule(NamedTuple):
    """One row: `name` is the config's field with the threshold, which the measure must be at least, or at most."""

    name: str
    reason: DropReason
    measure: Measure
    keeps: Literal["at_least", "at_most"]


class RuleConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The switches that every source has: `enabled` for all of its rules, `off` for single ones by their names.

    Raises:
        ConfigError: `off` names what is no rule of this source.
    """

    enabled: bool = False
    off: list[str] = []

    def __post_init__(self) -> None:
        names = [name for name in self.__struct_fields__ if name not in RuleConfig.__struct_fields__]
        for name in self.off:
            if name not in names:
                nearest = difflib.get_close_matches(name, names, n=1, cutoff=0.0)
                raise ConfigError(f"off: {name!r} is no rule of {type(self).__name__}; did you mean {nearest[0]!r}?")


class Source(NamedTuple):
    """The rules of one section of the config, `[filters.<name>]`, in the order in which they judge, and what they judge."""

    name: str
    kind: DropKind
    rules: tuple[Rule, ...]


class Verdict(NamedTuple):
    """What a source says of a text: the drop, or None to keep it; and the rules, as `source.rule`, that did not judge it."""

    drop: Drop | None
    not_judged: list[str]


def judge(passage: Passage, source: Source, config: RuleConfig) -> Verdict:
    """Judges a passage by the rules of a source, those in `off` left out. The drop's detail is `source.rule`, value and threshold are in the rule's unit."""
    not_judged: list[str] = []
    for rule in source.rules:
        if rule.name in config.off:
            continue
        threshold: float = getattr(config, rule.name)
        value = rule.measure(passage)
        if value is None:
            not_judged.append(f"{source.name}.{rule.name}")
        elif value < threshold if rule.keeps == "at_least" else value > threshold:
            detail = f"{source.name}.{rule.name}"
            drop = Drop(kind=source.kind, reason=rule.reason, value=round(value, 4), threshold=threshold, detail=detail)
            return Verdict(drop, not_judged)
    return Verdict(None, not_judged)
