"""HTTP bodies: encodings undone, labels that lie, bombs."""

import gzip
import zlib

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from pipeline.read.body import Body, dechunk, decode_body

TEXT = b"<html>" + b"some text " * 500 + b"</html>"
LIMIT = 1 << 20


def _raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


PACKERS = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}


def _chunked(data: bytes, size: int) -> bytes:
    chunks = [data[at : at + size] for at in range(0, len(data), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


@given(data=st.binary(max_size=2000), coding=st.sampled_from(sorted(PACKERS)), size=st.integers(1, 300))
def test_every_coding_is_undone(data: bytes, coding: str, size: int) -> None:
    """Compressed, chunked, and both."""
    packed = PACKERS[coding](data)

    assert Body(data=data) == decode_body(packed, "", coding, LIMIT)
    assert Body(data=data) == decode_body(_chunked(data, size), "chunked", "", LIMIT)
    assert Body(data=data) == decode_body(_chunked(packed, size), "Chunked", coding.upper(), LIMIT)
    assert Body(data=data) == decode_body(packed, coding, "", LIMIT)


def test_stacked_codings_are_undone_last_first() -> None:
    """`gzip, br` was packed by gzip first."""
    assert TEXT == decode_body(brotli.compress(gzip.compress(TEXT)), "", "gzip, br", LIMIT).data


def test_deflate_without_a_zlib_head() -> None:
    """What some servers send as deflate."""
    assert Body(data=TEXT) == decode_body(_raw_deflate(TEXT), "", "deflate", LIMIT)


def test_several_gzip_members_are_one_body() -> None:
    """As the format has it."""
    assert TEXT * 2 == decode_body(gzip.compress(TEXT) * 2, "", "gzip", LIMIT).data


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "unheard-of", "identity", ""])
def test_a_wrong_label_leaves_the_bytes(coding: str) -> None:
    """A body that is not packed as it says is taken as it is."""
    assert Body(data=TEXT) == decode_body(TEXT, "", coding, LIMIT)


@pytest.mark.parametrize("coding", sorted(PACKERS))
def test_a_cut_body_gives_its_beginning(coding: str) -> None:
    """Marked as truncated."""
    text = bytes(range(256)) * 400 + TEXT
    packed = PACKERS[coding](text)

    body = decode_body(packed[: len(packed) - 4], "", coding, LIMIT)

    assert body.truncated
    assert text.startswith(body.data)


@pytest.mark.parametrize("coding", sorted(PACKERS))
def test_a_bomb_stops_at_the_budget(coding: str) -> None:
    """What is behind it is not decoded."""
    body = decode_body(PACKERS[coding](bytes(24 << 20)), "", coding, LIMIT)

    assert (True, LIMIT) == (body.too_large, len(body.data))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"3\r\nabc\r\n0\r\n\r\n", (b"abc", False)),
        (b"3;name=value\r\nabc\r\n0\r\nTrailer: x\r\n\r\n", (b"abc", False)),
        (b"3\nabc\n0\n\n", (b"abc", False)),
        (b"<html>not chunked</html>", (b"<html>not chunked</html>", False)),
        (b"add some text\r\n", (b"add some text\r\n", False)),
        (b"", (b"", False)),
        (b"3\r\nabc\r\n", (b"abc", True)),
        (b"9\r\nabc", (b"abc", True)),
        (b"3\r\nabc\r\nzz\r\nrest", (b"abczz\r\nrest", True)),
    ],
)
def test_chunks_of_every_kind(body: bytes, expected: tuple[bytes, bool]) -> None:
    """Right, bare, with extensions and trailers, undone already, cut, broken."""
    assert expected == dechunk(body)
