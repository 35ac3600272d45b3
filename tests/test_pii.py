"""Personal data: what is replaced, and what looks like it and stays."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.filters.pii import EMAIL, IPV4, IPV6, PHONE, PiiConfig, scrub
from schemas.document import Text, paragraph

ALL = PiiConfig()
NONE = PiiConfig(emails=False, phones=False, ips=False)


@pytest.mark.parametrize(
    ("text", "placeholder"),
    [
        *[
            (text, EMAIL)
            for text in (
                "jane.doe@mail.net",
                "a@b.co",
                "x+tag@sub.uni-köln.de",
                "jane [at] uni [dot] edu",
                "j(at)uni.de",
            )
        ],
        *[
            (text, PHONE)
            for text in (
                "+44 20 7946 0958",
                "+12025550123",
                "+49 (0)40 / 49 07 11 06",
                "+41.31.322.55.11",
                "0049 89 1234567",
                "(212) 555-1234",
                "1-800-555-1234",
                "212.555.1234",
                "020 7946 0958",
                "01 23 45 67 89",
                "(030) 1234567",
                "030/226 343-0",
                "03-1234-5678",
                "(11) 98765-4321",
                "8 (495) 123-45-67",
                "138 1234 5678",
            )
        ],
        ("93.184.216.34", IPV4),
        ("2606:2800:220:1:248:1893:25c8:1946", IPV6),
        ("2a00:1450:4001::200e", IPV6),
    ],
)
def test_personal_data_is_replaced(text: str, placeholder: str) -> None:
    """Addresses and numbers go wherever they stand in a sentence, and nothing around them does."""
    assert scrub(text, ALL) == (placeholder, 1)
    assert scrub(f"At {text}, or ({text}).", ALL) == (f"At {placeholder}, or ({placeholder}).", 2)
    assert scrub(text, NONE) == (text, 0)


@pytest.mark.parametrize(
    "text",
    [
        "2012-2013-2014",
        "1999 2000 2001 2002",
        "05.2010-2012",
        "01-02-2023 10",
        "01.02.2023 10.30",
        "2020-01-01 12:30:45",
        "0-306-40615-2",
        "978-0-306-40615-7",
        "ISBN 013-110362-88",
        "1.234.567,89",
        "$1 234 567 8901",
        "200 300 4000",
        "51.123456, 4.123456",
        "051.123456",
        "3.14159265358979",
        "1234567890123",
        "0001234567890",
        "+100 000",
        "10.1016/0032-3861(95)90668",
        "(2010) 123-4567",
        "Chrome 91.0.4472.124",
        "v1.22.33.104",
        "version 10.22.33.104",
        "Section 3.10.12.7",
        "8.8.8.8",
        "192.168.100.200",
        "198.51.100.200",
        "2001:db8::8:800:200c:417a",
        "dead::beef",
        "00:1a:2b:3c:4d:5e",
        "12:30:45",
        "std::vector",
        "icon@2x.png",
        "@handle",
        "git@host.org:team/project.git",
        "someone@example.com",
    ],
)
def test_other_numbers_stay(text: str) -> None:
    """Dates, ISBNs, prices, years, versions, coordinates, ids, and what is reserved for examples are no personal data."""
    assert scrub(text, ALL) == (text, 0)
    assert scrub(f"See {text}, or ({text}).", ALL)[1] == 0


@pytest.mark.parametrize("text", ["Tel: {}", "Fax {} only", "电话:{}", "☎ {}", "Mobile. {}", "Телефон: {}"])
def test_a_bare_number_is_a_phone_after_the_word(text: str) -> None:
    """Digits without the groups of a plan count only where the text says what they are."""
    assert scrub(text.format("13812345678"), ALL) == (text.format(PHONE), 1)
    assert scrub("Order {} is sent".format("13812345678"), ALL)[1] == 0
    assert scrub("iPhone 13812345678", ALL)[1] == 0


def test_each_kind_has_its_switch() -> None:
    """A kind that is off stays; the others go."""
    text = "jane@mail.net +44 20 7946 0958 93.184.216.34"

    assert (f"jane@mail.net {PHONE} {IPV4}", 2) == scrub(text, PiiConfig(emails=False))
    assert (f"{EMAIL} +44 20 7946 0958 {IPV4}", 2) == scrub(text, PiiConfig(phones=False))
    assert (f"{EMAIL} {PHONE} 93.184.216.34", 2) == scrub(text, PiiConfig(ips=False))


PIECES = st.sampled_from(
    [
        "jane@mail.net",
        "+44 20 7946 0958",
        "(212) 555-1234",
        "93.184.216.34",
        "2606:2800::1",
        " ",
        "\n",
        ".",
        "-",
        "(",
        "0",
        "12",
        "@",
        ":",
    ]
)


@given(st.lists(PIECES | st.text(max_size=6), max_size=12).map("".join))
def test_scrubbed_text_is_a_node_and_stays(text: str) -> None:
    """What comes out of a node's text is a node's text, in which nothing more is found."""
    text = paragraph(text) or "x"
    scrubbed, _ = scrub(text, ALL)

    assert text.count("\n") == scrubbed.count("\n")
    assert Text(scrubbed).text == scrubbed


def test_placeholders_stay() -> None:
    """Text that was scrubbed is not counted again."""
    text = f"{EMAIL} {PHONE} {IPV4} {IPV6}"

    assert (text, 0) == scrub(text, ALL)


@pytest.mark.parametrize(
    "piece", ["a.", "1", "0 1", "(0", "a@", "1.", "+1 (", "2001:", "a@b.", "20.", "[at]", "1.1.1.", "- ", "tel "]
)
def test_time_is_linear(piece: str) -> None:
    """Ten times the text takes not much more than ten times as long, whatever it repeats."""
    times = []
    for characters in (20_000, 200_000):
        text = piece * (characters // len(piece))
        start = time.process_time()
        scrub(text, ALL)
        times.append(time.process_time() - start)

    assert times[1] < 40 * times[0] + 0.05
