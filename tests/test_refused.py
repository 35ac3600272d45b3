"""Which documents may not be used: directives and lists."""

from pathlib import Path

import pytest

from pipeline.lists.config import ListsConfig
from pipeline.lists.lists import compile_texts, stored, text_lists
from pipeline.lists.policies import Policies
from pipeline.optout import opt_out
from pipeline.stages.refused import refusal
from pipeline.store import Store
from schemas.document import Text, encode_draft_nodes
from schemas.drops import DropReason


@pytest.mark.parametrize(
    ("robots", "directive"),
    [
        ([], ""),
        (["noindex", "nofollow"], ""),
        (["noai"], "noai"),
        (["NoIndex, NoImageAI"], "noimageai"),
        (["m3w: noai"], "noai"),
        (["*: noai"], "noai"),
        (["otherbot: noindex, noai"], ""),
        (["otherbot: noindex, m3w: noai"], "noai"),
        (["unavailable_after: 25 Jun 2010 15:00:00 PST, noai"], "noai"),
        (["max-snippet: 20, noai"], "noai"),
        (["googlebot: noindex", "noimageai"], "noimageai"),
        (["tdm-reservation: 1"], "tdm-reservation"),
        (["tdm-reservation: 0"], ""),
        (["noairport"], ""),
        ([",,:,"], ""),
    ],
)
def test_directives_that_say_no(robots: list[str], directive: str) -> None:
    """What is said about training counts, to all or to us; what is said to other agents does not."""
    assert directive == opt_out(robots)


def test_a_page_goes_by_its_directives_or_by_a_list(tmp_path: Path) -> None:
    """The first that says no is the reason: banned words, directives, places, then text."""
    words, domains = tmp_path / "words", tmp_path / "domains"
    words.write_text("secret")
    domains.write_text("bad.org")
    config = ListsConfig(block_words=[str(words)], block_domains=[str(domains)])
    lists = text_lists(str(tmp_path / "run"), stored(Store(str(tmp_path / "run")), compile_texts(config)))

    def asked(
        url: str, robots: list[str] | None, text: str, banned: str | None = None
    ) -> tuple[DropReason, str] | None:
        nodes = encode_draft_nodes([Text("A heading"), Text(text)]).decode()
        drop = refusal({"url": url, "robots": robots, "nodes": nodes}, banned, lists, Policies({}))
        assert drop is None or (drop.kind, drop.url) == ("page", url)
        return (drop.reason, drop.detail) if drop else None

    assert asked("http://bad.org/", ["noai"], "a secret", "word") == (DropReason.BANNED_URL, "word")
    assert asked("http://bad.org/", ["noai"], "a secret") == (DropReason.OPTED_OUT, "noai")
    assert asked("http://bad.org/", None, "a secret") == (DropReason.BLOCKED_DOMAIN, "bad.org")
    assert asked("http://good.org/", [], "a secret") == (DropReason.BLOCKED_WORD, "secret")
    assert asked("http://good.org/", ["noindex"], "no secrets") is None
