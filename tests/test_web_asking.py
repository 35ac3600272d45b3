"""What is asked of the web: who asks, and which addresses."""

import re
from collections.abc import Callable

import pytest

from pipeline.web import resolver
from pipeline.web.addresses import is_address, refused
from pipeline.web.answer import Request
from pipeline.web.config import FetchConfig
from pipeline.web.download import download
from pipeline.web.host import registered_domain
from schemas.errors import ConfigError
from tests.asking import JPEG, config, fetch
from tests.hostile_server import Handler, HostileServer, reply

Lookup = Callable[[str], list[str]]


@pytest.fixture
def lookup(monkeypatch: pytest.MonkeyPatch) -> Callable[[Lookup], None]:
    """Sets what the system's resolver says."""
    return lambda function: monkeypatch.setattr(resolver, "system_lookup", function)


# Who asks, and what can be asked


def test_user_agent_names_product_version_and_contact() -> None:
    """Every request, that for robots.txt too, says who asks and how to reach them, and asks for plain bytes."""
    with HostileServer({"/a": reply(JPEG)}) as server:
        fetch(server, "/a")

    assert 2 == len(server.requests)
    for head in server.requests:
        assert re.fullmatch(r"m3w/\d[\w.]* \(\+crawl@example\.org\)", head["user-agent"])
        assert "identity" == head["accept-encoding"]


@pytest.mark.parametrize("contact", ["", "  "])
def test_without_contact_nothing_is_asked(contact: str) -> None:
    """No contact is an error of the configuration before the first request."""
    with pytest.raises(ConfigError, match=r"fetch\.contact"):
        download([Request(number=0, url="http://127.0.0.1:1/", kind="image")], FetchConfig(contact=contact))


@pytest.mark.parametrize("contact", ["a@b.org\r\nX: y", "käse@example.org", "nobody", "me at b.org", "@"])
def test_a_contact_can_be_written_to(contact: str) -> None:
    """What nobody could be reached by is refused when the configuration is read."""
    with pytest.raises(ValueError, match="contact has to be"):
        FetchConfig(contact=contact)


@pytest.mark.parametrize("place", ["*", "http://127.0.0.1:8000", "127.0.0.1", "::1:80", "10.0.0.0/8:80", "a:http"])
def test_what_is_allowed_is_a_host_and_a_port(place: str) -> None:
    """An entry that would open nothing is refused when the configuration is read."""
    with pytest.raises(ValueError, match="allow takes host:port"):
        FetchConfig(allow=[place])
    FetchConfig(allow=["127.0.0.1:8000", "[::1]:80", "intranet.example:8080"])


def test_connections_are_kept() -> None:
    """A hundred pictures of one host take no more connections than are asked at a time."""
    pages: dict[str, bytes | Handler] = {f"/{number}": reply(JPEG) for number in range(100)}
    with HostileServer(pages) as server:
        answers = fetch(server, *pages, per_host=3)

    assert {"ok"} == {answer.status for answer in answers}
    assert server.connections <= 4


@pytest.mark.parametrize(
    "url", ["", "ftp://example.org/a", "http://", "http://[::1", "http://a b/", "http://\ud800.org/", "data:image/png,"]
)
def test_what_is_no_url(url: str) -> None:
    """What cannot be asked is a bad URL, and does not raise."""
    answers = list(download([Request(number=7, url=url, kind="image")], FetchConfig(contact="a@b.org")))

    assert [(7, "bad_url")] == [(answer.number, answer.status) for answer in answers]


# Addresses and names


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",
        "172.16.0.1",
        "192.168.1.1",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",
        "::ffff:127.0.0.1",
        "::ffff:0a00:1",
        "64:ff9b::10.0.0.1",
        "64:ff9b:1::1",
        "2001:0:4136:e378:8000:63bf:80ff:fffe",
        "2001:db8::1",
        "2002:7f00:1::",
        "fc00::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "nonsense",
    ],
)
def test_addresses_that_are_refused(address: str) -> None:
    """Private, local, reserved, shared and multicast addresses are refused, in each form that carries them."""
    assert refused(address)


@pytest.mark.parametrize(
    "address", ["93.184.215.14", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"]
)
def test_addresses_of_the_public_web(address: str) -> None:
    """Public addresses are not refused, nor are IPv6 forms of public IPv4 addresses."""
    assert not refused(address)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "0x7f.1", "2130706433", "0177.0.0.1", "127.1", "[::1]", "[::ffff:7f00:1]", "127。0。0。1"]
)
def test_spellings_of_the_loopback(host: str) -> None:
    """An address in a URL is refused in whatever way it is spelled, without being connected to."""
    with HostileServer({}) as server:
        url = f"http://{host}:{server.port}/a"
        answers = list(download([Request(number=0, url=url, kind="image")], config()))

    assert ["address_refused"] == [answer.status for answer in answers]
    assert 0 == server.connections


def test_is_address() -> None:
    """Hosts that the URL standard takes for addresses, and names."""
    hosts = ("1.2.3.4", "::1", "a.1b", "host1", "localhost")

    assert [True, True, False, False, False] == [is_address(host) for host in hosts]


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["::1"], ["10.0.0.1", "192.168.0.1"]])
def test_names_of_inner_addresses_are_refused(lookup: Callable[[Lookup], None], addresses: list[str]) -> None:
    """A name that has only addresses of the inside is refused after resolution."""
    lookup(lambda _: addresses)
    with HostileServer({}) as server:
        asked = [Request(number=0, url=server.url("/a", "pictures.example.com"), kind="image")]
        answers = list(download(asked, config()))

    assert ["address_refused"] == [answer.status for answer in answers]
    assert 0 == server.connections


def test_a_changing_name_is_connected_where_it_was_checked(lookup: Callable[[Lookup], None]) -> None:
    """DNS rebinding: the connection goes to the addresses of the answer that was checked, and each answer is checked."""
    asked_for: list[str] = []

    def changing(host: str) -> list[str]:
        asked_for.append(host)
        return ["127.0.0.1"] if len(asked_for) == 1 else ["127.0.0.2"]

    lookup(changing)
    with HostileServer({"/a": reply(JPEG), "/b": reply(JPEG)}) as server:
        requests = [
            Request(number=number, url=server.url(path, "pictures.example.com"), kind="image")
            for number, path in enumerate(["/a", "/b"])
        ]
        before = list(download(requests, config(server)))
        after = list(download(requests, config(server)))  # now the name leads to an address that is not opened

    assert ["ok", "ok"] == [answer.status for answer in before]
    assert ["address_refused", "address_refused"] == [answer.status for answer in after]
    assert ["pictures.example.com"] * 2 == asked_for, "once for each call, however many connections"


def test_names_without_address(lookup: Callable[[Lookup], None]) -> None:
    """A name that does not exist is asked of the resolver once, for all its URLs."""
    asked_for: list[str] = []

    def unknown(host: str) -> list[str]:
        asked_for.append(host)
        raise OSError("Name or service not known")

    lookup(unknown)
    requests = [Request(number=number, url=f"http://gone.example/{number}", kind="image") for number in range(5)]
    for respect_robots in (True, False):
        asked_for.clear()
        answers = list(download(requests, config(respect_robots=respect_robots)))

        assert ["dns_failed"] * 5 == [answer.status for answer in answers]
        assert ["gone.example"] == asked_for


def test_registered_domain() -> None:
    """Hosts of one owner meet, owners behind a private suffix are parted, addresses and bare names are themselves."""
    urls = [
        "https://a.b.example.com:1/",
        "http://u@me.github.io",
        "http://[::1]:80/x",
        "http://localhost:8/",
        "http://10.0.0.1",
    ]

    assert ["example.com", "me.github.io", "[::1]", "localhost", "10.0.0.1"] == [registered_domain(url) for url in urls]
