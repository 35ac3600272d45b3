"""What an origin's robots.txt, ai.txt and tdmrep.json say about one URL of it, as training data.

In: the texts that the crawl holds (the `policies` table). Out: who says no, or "". The question is not whether a URL may be asked for (that is for who
asks, at the time of asking) but whether its owner has taken it out of training. So robots.txt counts in three ways, the first that speaks decides: a
group that names us; groups that name a well-known crawler for training data, any of which may say no; and the group of `*`, as for any robot. A
training crawler that nobody names says nothing. Who invites us by name while turning others away has answered us.
"""

import json

from protego import Protego

from pipeline.optout import PRODUCT
from pipeline.read.policies import PolicyKind

# By their operators' own pages: tokens that exist to keep pages out of training, or that fetch for it.
TRAINING_AGENTS = (
    "GPTBot",
    "CCBot",
    "Google-Extended",
    "Applebot-Extended",
    "ClaudeBot",
    "anthropic-ai",
    "Meta-ExternalAgent",
    "Bytespider",
    "Amazonbot",
    "cohere-training-data-crawler",
    "img2dataset",
)
MAX_LOCATIONS = 1000  # ours: entries of a tdmrep.json that are read


class OriginPolicy:
    """The policies of one origin, parsed once: the text of each kind that there is."""

    def __init__(self, policies: dict[PolicyKind, str]) -> None:
        texts = {kind: policies[kind] for kind in ("robots", "ai") if kind in policies}
        self._rules = [(kind, Protego.parse(text), _named(text)) for kind, text in texts.items()]
        self._reservations = _reservations(policies.get("tdmrep", ""))

    def refusal(self, url: str) -> str:
        """Which file says no to a URL of this origin, and to whom; "" where none does."""
        for kind, rules, named in self._rules:
            if agent := _refused_agent(rules, named, url):
                return f"{kind}.txt: {agent}"
        reserved = self._reservations is not None and not self._reservations.can_fetch(url, PRODUCT)
        return "tdmrep.json" if reserved else ""


def _refused_agent(rules: Protego, named: frozenset[str], url: str) -> str:
    if PRODUCT in named:
        asked = [PRODUCT]
    else:
        asked = [agent for agent in TRAINING_AGENTS if agent.lower() in named] + ["*"] * ("*" in named)
    return next((agent for agent in asked if not rules.can_fetch(url, agent)), "")


def _named(text: str) -> frozenset[str]:
    """The agents that groups of a robots.txt name, in lower case."""
    fields = (line.partition("#")[0].partition(":") for line in text.splitlines())
    return frozenset(value.strip().lower() for name, _, value in fields if name.strip().lower() == "user-agent")


def _reservations(text: str) -> Protego | None:
    """A tdmrep.json as rules: its locations are patterns as in robots.txt, the most specific one decides. None where it reserves nothing."""
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError):
        return None
    lines = []
    for entry in entries[:MAX_LOCATIONS] if isinstance(entries, list) else ():
        match entry:
            case {"location": str(location), "tdm-reservation": int(reserved)} if len(location.split()) == 1:
                lines.append(f"{'Disallow' if reserved == 1 else 'Allow'}: {location}")
    return Protego.parse("\n".join(["User-agent: *", *lines])) if lines else None
