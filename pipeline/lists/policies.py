"""What an origin's robots.txt, ai.txt and tdmrep.json say about one URL of it, as training data.

In: the texts that the crawl holds (the `policies` table). Out: who says no, or "". The question is not whether a URL may be asked for (that is for who
asks, at the time of asking) but whether its owner has taken it out of training. So robots.txt counts in three ways, the first that speaks decides: a
group that names us; groups that name a well-known crawler for training data, any of which may say no; and the group of `*`, as for any robot. A
training crawler that nobody names says nothing. Who invites us by name while turning others away has answered us. ai.txt (Spawning) has the form of
robots.txt, with endings for paths (`Disallow: *.jpg`), and is read like it; of tdmrep.json the most specific location decides.

Of a text only what can say no to us is kept (`rules_of`): most texts come to nothing, nearly all others to a few lines. The scheme is no part of whose
policy it is: who says no at https has not said yes at http.
"""

import json
import re
from collections.abc import Iterator, Mapping
from itertools import islice

from protego import Protego

from pipeline.optout import PRODUCT
from pipeline.read.policies import PolicyKind, origin_of

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
MAX_LINES = 5000  # ours: of the groups that are heard; the longest files of large sites have some thousand

_HEARD = frozenset(("*", PRODUCT, *(agent.lower() for agent in TRAINING_AGENTS)))
_AGENT_FIELDS = frozenset(("user-agent", "user agent", "useragent"))
_REFUSAL = re.compile(r"\s*di\w+[\s:]+\S", re.IGNORECASE)  # Protego reads misspellings of it, too


def authority(url: str) -> str:
    """Host and port of whose policies a URL stands under; "" of what is no http(s) URL."""
    return origin_of(url).partition("://")[2]


def rules_of(kind: PolicyKind, text: str) -> str:
    """What of a policy can say no to us, in the form of a robots.txt; "" where nothing does."""
    lines = _reservations(text) if kind == "tdmrep" else _heard_groups(text)
    rules = "\n".join(islice(lines, MAX_LINES))
    return rules if any(map(_REFUSAL.match, rules.split("\n"))) else ""


def _agent(line: str) -> str | None:
    """The agent that a line of a robots.txt names, None where it is another line."""
    field, _, value = line.partition(":")
    return value.strip().lower() if field.strip().lower() in _AGENT_FIELDS else None


def _heard_groups(text: str) -> Iterator[str]:
    """The groups of a robots.txt that name an agent that we ask for, without their other agents."""
    heard = False
    in_agents = False
    for line in text.splitlines():
        line = line.partition("#")[0].strip()
        if (agent := _agent(line)) is not None:
            is_heard = agent == "*" or agent.replace("*", "") in _HEARD
            heard = is_heard or (heard and in_agents)
            in_agents = True
            if is_heard:
                yield line
        elif line and not line.lower().startswith("sitemap"):
            in_agents = False
            if heard:
                yield line


def _reservations(text: str) -> Iterator[str]:
    """A tdmrep.json as rules: its locations are patterns as in robots.txt."""
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError):
        return
    yield "User-agent: *"
    for entry in entries[:MAX_LOCATIONS] if isinstance(entries, list) else ():
        match entry:
            case {"location": str(location), "tdm-reservation": int(reserved)} if len(location.split()) == 1:
                yield f"{'Disallow' if reserved == 1 else 'Allow'}: {location}"


class Policy:
    """The rules of one policy, parsed."""

    def __init__(self, kind: PolicyKind, rules: str) -> None:
        self._kind, self._rules = kind, Protego.parse(rules)
        named = set(map(_agent, rules.split("\n")))
        training = [agent for agent in TRAINING_AGENTS if agent.lower() in named]
        self._asked = [PRODUCT] if PRODUCT in named else [*training, *(["*"] if "*" in named else [])]

    def refusal(self, url: str) -> str:
        """Which file says no to a URL, and to whom; "" where it does not."""
        agent = next((agent for agent in self._asked if not self._rules.can_fetch(url, agent)), "")
        if agent and self._kind == "tdmrep":
            return "tdmrep.json"
        return f"{self._kind}.txt: {agent}" if agent else ""


class Policies:
    """The rules of many origins, each parsed when it is first asked for: (authority, kind) to rules."""

    def __init__(self, rules: Mapping[tuple[str, PolicyKind], str]) -> None:
        self._rules: dict[str, list[tuple[PolicyKind, str]]] = {}
        for (place, kind), text in sorted(rules.items()):
            self._rules.setdefault(place, []).append((kind, text))
        self._parsed: dict[str, list[Policy]] = {}

    def __bool__(self) -> bool:
        return bool(self._rules)

    def refusal(self, url: str) -> str:
        """Which file of a URL's origin says no to it, and to whom; "" where none does."""
        place = authority(url)
        if place not in self._rules:
            return ""
        if place not in self._parsed:
            self._parsed[place] = [Policy(kind, rules) for kind, rules in self._rules[place]]
        return next(filter(None, (policy.refusal(url) for policy in self._parsed[place])), "")
