"""How tests ask servers that misbehave on purpose, all of them on the loopback."""

import io
from typing import Any

from PIL import Image

from pipeline.images import ImageConfig
from pipeline.web.answer import Answer, Request
from pipeline.web.config import FetchConfig
from pipeline.web.download import download
from tests.hostile_server import Handler, HostileServer, reply


def _jpeg(side: int = 40) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((side, side), 60).convert("RGB").save(buffer, "JPEG")
    return buffer.getvalue()


JPEG = _jpeg()
HTML = b"<!DOCTYPE html><html><body>Not here any more</body></html>"


def config(*servers: HostileServer, **settings: Any) -> FetchConfig:
    """Short times, and the servers' ports open."""
    quick = {"connect_timeout_s": 1.0, "read_timeout_s": 0.3, "url_timeout_s": 1.5, "backoff_s": 0.02, "delay_s": 0.0}
    allow = [f"127.0.0.1:{server.port}" for server in servers]
    return FetchConfig(contact="crawl@example.org", **{"allow": allow, **quick, **settings})


def fetch(server: HostileServer, *paths: str, images: ImageConfig = ImageConfig(), **settings: Any) -> list[Answer]:
    """The answers, in the order of the paths."""
    requests = [Request(number=number, url=server.url(path), kind="image") for number, path in enumerate(paths)]
    answers = list(download(requests, config(server, **settings), images=images))
    assert list(range(len(paths))) == sorted(answer.number for answer in answers)
    return sorted(answers, key=lambda answer: answer.number)


def one(page: bytes | Handler, **settings: Any) -> Answer:
    """The answer to a server with a single page."""
    with HostileServer({"/x.jpg": page}) as server:
        return fetch(server, "/x.jpg", **settings)[0]


def moved(to: str) -> bytes:
    """A redirect."""
    return reply(status="302 Found", Location=to)
