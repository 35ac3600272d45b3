"""Policies of an origin: who says no to which URL."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from protego import Protego

from pipeline.lists.policies import MAX_LINES, TRAINING_AGENTS, Policies, rules_of
from pipeline.read.policies import PolicyKind

PAGE, PICTURE = "https://a.org/blog/1.html", "https://a.org/img/1.jpg"


def refusals(**texts: str) -> tuple[str, str]:
    """What the policies of one origin, by kind, say about a page and a picture of it."""
    kinds: dict[str, PolicyKind] = {"robots": "robots", "ai": "ai", "tdmrep": "tdmrep"}
    rules = {("a.org", kinds[name]): rules_of(kinds[name], text) for name, text in texts.items()}
    policies = Policies(rules)
    return policies.refusal(PAGE), policies.refusal(PICTURE)


@pytest.mark.parametrize(
    ("text", "page", "picture"),
    [
        ("", "", ""),
        ("<html>not found</html>", "", ""),
        ("User-agent: *\nDisallow: /img/", "", "robots.txt: *"),
        ("User-agent: GPTBot\nDisallow: /", "robots.txt: GPTBot", "robots.txt: GPTBot"),
        ("user-agent: gptbot # no training\ndisallow: /img/*.jpg$", "", "robots.txt: GPTBot"),
        ("User-agent: Googlebot\nDisallow: /", "", ""),
        ("User-agent: GPTBot\nUser-agent: Googlebot\nDisallow: /img", "", "robots.txt: GPTBot"),
        ("User-agent: Googlebot\nUser-agent: GPTBot\nDisallow: /img", "", "robots.txt: GPTBot"),
        ("User-agent: GPTBot\nAllow: /\n\nUser-agent: Googlebot\nDisallow: /", "", ""),
        ("User-agent: GPTBot\nAllow: /\n\nUser-agent: *\nDisallow: /img/", "", "robots.txt: *"),
        ("User-agent: m3w\nDisallow:\n\nUser-agent: CCBot\nUser-agent: *\nDisallow: /", "", ""),
        ("User-agent: m3w\nDisallow: /blog\n\nUser-agent: *\nAllow: /", "robots.txt: m3w", ""),
        ("User-agent: SomeGPTBotLike\nDisallow: /", "", ""),
        ("User-agent: *\nDisalow: /img", "", "robots.txt: *"),
        ("\nSitemap: /map\nUser-agent: *\n\n# all\n\nDisallow: /img\nAllow: /img/1", "", ""),
    ],
)
def test_robots_txt(text: str, page: str, picture: str) -> None:
    """Our own group decides; else any training crawler that is named, and everybody's group."""
    assert (page, picture) == refusals(robots=text)


@pytest.mark.parametrize(
    ("text", "page", "picture"),
    [
        ("User-Agent: *\nDisallow: *.jpg\nAllow: *.html", "", "ai.txt: *"),
        (
            "# Spawning AI\nUser-Agent: *\nDisallow: *.html\nDisallow: *.jpg\nDisallow: /\nDisallow: *",
            *["ai.txt: *"] * 2,
        ),
        ("User-Agent: *\nDisallow: *.html\nAllow: *.jpg\nAllow: /", "ai.txt: *", ""),
    ],
)
def test_ai_txt_says_no_on_its_own(text: str, page: str, picture: str) -> None:
    """ai.txt has the form of robots.txt, and need not agree with it; its lines may name endings."""
    assert (page, picture) == refusals(robots="User-agent: *\nAllow: /", ai=text)


@pytest.mark.parametrize(
    ("text", "page", "picture"),
    [
        ('[{"location": "/", "tdm-reservation": 1}]', "tdmrep.json", "tdmrep.json"),
        ('[{"location": "/", "tdm-reservation": 1}, {"location": "/blog/", "tdm-reservation": 0}]', "", "tdmrep.json"),
        ('[{"location": "/img/*.jpg$", "tdm-reservation": 1, "tdm-policy": "x"}]', "", "tdmrep.json"),
        ('[{"location": "/", "tdm-reservation": 0}]', "", ""),
        ('{"location": "/"}', "", ""),
        (
            '[1, null, {"location": 3, "tdm-reservation": 1}, {"location": "/\\nDisallow: /", "tdm-reservation": 0}]',
            "",
            "",
        ),
        ("[" * 100_000, "", ""),
        ("no json", "", ""),
    ],
)
def test_tdmrep_json(text: str, page: str, picture: str) -> None:
    """Reserved locations are patterns, the most specific one decides; what is not of the form says nothing."""
    assert (page, picture) == refusals(tdmrep=text)


@pytest.mark.parametrize(
    "text",
    [
        "User-agent:" + " " * 400_000 + "x",
        "User-agent: *\n" + "Disallow: /*a*b*c$\n" * 30_000,
        "User-agent: *\nDisallow: /" + "*1" * 100_000 + "$",
        "User-agent: GPTBot\n" * 30_000 + "Disallow: /none",
    ],
)
def test_a_text_made_to_hang_does_not(text: str) -> None:
    """Half a megabyte of whatever is read in time that grows with its length; of the rules a bounded number is heard."""
    before = time.process_time()

    assert ("", "") == refusals(robots=text)
    assert len(rules_of("robots", text).splitlines()) <= MAX_LINES
    assert time.process_time() - before < 10


def test_an_origin_is_a_host_and_a_port() -> None:
    """The scheme says nothing about whose URL it is; another host or port is another's."""
    policies = Policies({("a.org", "robots"): "User-agent: *\nDisallow: /"})

    refused = [
        policies.refusal(f"{place}/x") != "" for place in ("http://a.org", "HTTPS://A.org:443", "https://b.a.org")
    ]
    assert [True, True, False] == refused
    assert "" == policies.refusal("http://a.org:8080/x") == policies.refusal("data:x") == policies.refusal("")


agents = st.sampled_from(["*", "GPTBot", "ccbot", "m3w", "Googlebot", "Bingbot"])
lines = st.one_of(
    agents.map("User-agent: {}".format),
    st.sampled_from(
        ["Disallow: /", "Disallow: /img", "Allow: /img/1", "Disallow:", "Crawl-delay: 1", "# x", "", "Sitemap: s"]
    ),
)


@given(st.lists(lines, max_size=12))
def test_what_is_left_of_a_text_says_what_the_text_said(text: list[str]) -> None:
    """The rules that are kept of a robots.txt answer for every agent that is asked as the whole text does."""
    whole, left = Protego.parse("\n".join(text)), Protego.parse(rules_of("robots", "\n".join(text)))

    for agent in (*TRAINING_AGENTS, "*", "m3w"):
        if any(line.lower() == f"user-agent: {agent.lower()}" for line in text):
            for url in (PAGE, PICTURE):
                assert whole.can_fetch(url, agent) == left.can_fetch(url, agent)
