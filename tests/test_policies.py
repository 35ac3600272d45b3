"""Policies of an origin: who says no to which URL."""

import pytest

from pipeline.lists.policies import OriginPolicy

PAGE, PICTURE = "https://a.org/blog/1.html", "https://a.org/img/1.jpg"


@pytest.mark.parametrize(
    ("text", "page", "picture"),
    [
        ("", "", ""),
        ("<html>not found</html>", "", ""),
        ("User-agent: *\nDisallow: /img/", "", "robots.txt: *"),
        ("User-agent: GPTBot\nDisallow: /", "robots.txt: GPTBot", "robots.txt: GPTBot"),
        ("user-agent: gptbot # no training\ndisallow: /img/*.jpg$", "", "robots.txt: GPTBot"),
        ("User-agent: Googlebot\nDisallow: /", "", ""),
        ("User-agent: GPTBot\nAllow: /\n\nUser-agent: *\nDisallow: /img/", "", "robots.txt: *"),
        ("User-agent: m3w\nDisallow:\n\nUser-agent: CCBot\nUser-agent: *\nDisallow: /", "", ""),
        ("User-agent: m3w\nDisallow: /blog\n\nUser-agent: *\nAllow: /", "robots.txt: m3w", ""),
        ("User-agent: SomeGPTBotLike\nDisallow: /", "", ""),
    ],
)
def test_robots_txt(text: str, page: str, picture: str) -> None:
    """Our own group decides; else any training crawler that is named, and everybody's group."""
    policy = OriginPolicy({"robots": text})

    assert (page, picture) == (policy.refusal(PAGE), policy.refusal(PICTURE))


def test_ai_txt_says_no_on_its_own() -> None:
    """ai.txt has the form of robots.txt, and need not agree with it."""
    policy = OriginPolicy({"robots": "User-agent: *\nAllow: /", "ai": "User-Agent: *\nDisallow: *.jpg\nAllow: *.html"})

    assert ("", "ai.txt: *") == (policy.refusal(PAGE), policy.refusal(PICTURE))


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
    policy = OriginPolicy({"tdmrep": text})

    assert (page, picture) == (policy.refusal(PAGE), policy.refusal(PICTURE))
