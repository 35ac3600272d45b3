"""Records out of byte ranges of sound and damaged WARC files."""

import gzip
import io
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pipeline.read.fast import sound_records
from pipeline.read.members import packing_of
from pipeline.read.source import Source
from pipeline.read.warc import Gap
from pipeline.read.warc_record import WarcRecord
from schemas.drops import DropReason
from tests.warcs import HTML, PACKINGS, found, members, packing_in, response, warc, with_dictionary

BODIES = st.lists(st.binary(max_size=400), min_size=1, max_size=6)


def _records(bodies: list[bytes]) -> list[bytes]:
    kinds = ("response", "request", "metadata")
    return [warc(kinds[index % 3], f"http://a.org/{index}", body) for index, body in enumerate(bodies)]


def _urls(data: bytes) -> list[str]:
    return [each.headers["warc-target-uri"] for each in found(data) if isinstance(each, WarcRecord)]


@given(bodies=BODIES, packing=st.sampled_from(PACKINGS))
def test_every_record_is_found_where_it_stands(bodies: list[bytes], packing: str) -> None:
    """Offsets and lengths tile the file; blocks are the ones that were written, of the types that are used."""
    packed = members(_records(bodies), packing)
    ends = [sum(map(len, packed[: n + 1])) for n in range(len(packed))]

    got = found(b"".join(packed))

    assert [(end - len(one), len(one)) for one, end in zip(packed, ends, strict=True)] == [
        (each.offset, each.length) for each in got
    ]
    assert [body for index, body in enumerate(bodies) if index % 3 == 0] == [
        each.block for each in got if isinstance(each, WarcRecord) and each.type == "response"
    ]
    assert all(isinstance(each, WarcRecord) and each.alone for each in got)


@given(data=st.data(), bodies=BODIES, packing=st.sampled_from(PACKINGS))
def test_any_cuts_give_the_records_of_the_whole(data: st.DataObject, bodies: list[bytes], packing: str) -> None:
    """Each record and each gap is in one range, also when the file is damaged."""
    file = bytearray(b"".join(members(_records(bodies), packing)))
    for at in data.draw(st.lists(st.integers(4, len(file) - 1), max_size=2)):
        file[at] ^= data.draw(st.integers(1, 255))
    assume(packing_of(Source(io.BytesIO(file))) is not None)
    cuts = sorted(data.draw(st.lists(st.integers(1, len(file)), max_size=4)))
    ranges = list(pairwise([0, *cuts, None]))

    whole = found(bytes(file))

    assert whole == [each for start, end in ranges for each in found(bytes(file), start or 0, end)]
    assert whole == found(bytes(file), trust=False)


@given(data=st.data(), bodies=BODIES, packing=st.sampled_from(PACKINGS))
def test_damage_in_one_record_costs_no_other(data: st.DataObject, bodies: list[bytes], packing: str) -> None:
    """Whatever bytes of a record change, all others are read as they were."""
    packed = members(_records(bodies), packing)
    sound = [each.offset for each in found(b"".join(packed))]
    victim = data.draw(st.integers(0, len(packed) - 1))
    broken = bytearray(packed[victim])
    for at in data.draw(st.lists(st.integers(0, len(broken) - 1), min_size=1, max_size=3)):
        broken[at] ^= data.draw(st.integers(1, 255))
    file = b"".join([*packed[:victim], bytes(broken), *packed[victim + 1 :]])
    assume(packing_of(Source(io.BytesIO(file))) is not None)

    offsets = {each.offset for each in found(file) if isinstance(each, WarcRecord)}

    assert {offset for index, offset in enumerate(sound) if index != victim} <= offsets


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_cut_file_ends_with_a_gap(packing: str) -> None:
    """FastWARC gives out the cut record as if it were whole; here it is a gap that names its offset."""
    packed = members([response(f"http://a.org/{n}", HTML * 9) for n in range(4)], packing)
    file = b"".join(packed)
    start = len(file) - len(packed[3])

    for cut in (1, len(packed[3]) // 2, len(packed[3]) - 9):
        *records, gap = found(file[: len(file) - cut] if packing != "plain" else file[: len(file) - 4 - cut])

        assert 3 == len(records)
        assert isinstance(gap, Gap)
        assert start == gap.offset


@pytest.mark.parametrize("packing", PACKINGS)
def test_garbage_between_records_is_a_gap(packing: str) -> None:
    """Its offset and length are those of the garbage, the records around it are whole."""
    first, second = members([response("http://a.org/1", HTML), response("http://a.org/2", HTML)], packing)
    garbage = b"\x00garbage\r\n" * 500

    one, gap, two = found(first + garbage + second)

    assert (
        Gap(
            offset=len(first),
            length=len(garbage),
            reason=DropReason.BAD_RECORD,
            detail="5000 bytes that are no WARC record",
        )
        == gap
    )
    assert (0, len(first) + len(garbage)) == (one.offset, two.offset)


def test_a_bad_checksum_is_damage() -> None:
    """A member whose content inflates but whose CRC is another is not believed."""
    packed = members([response(f"http://a.org/{n}", HTML) for n in range(3)], "gzip")
    file = packed[0] + packed[1][:-8] + b"\x00\x00\x00\x00" + packed[1][-4:] + packed[2]

    _, gap, _ = found(file)

    assert isinstance(gap, Gap)
    assert DropReason.BAD_RECORD is gap.reason
    assert ["http://a.org/0", "http://a.org/2"] == _urls(file)


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("lie", [b"Content-Length: 9", b"Content-Length: ", b"Content-Length: -", b"Content-Lenght: "])
def test_a_record_that_lies_about_its_length_loses_only_itself(packing: str, lie: bytes) -> None:
    """Too long, missing or no number."""
    records = [response(f"http://a.org/{n}", HTML * 20) for n in range(5)]
    records[2] = records[2].replace(b"Content-Length: ", lie + (b"x" if lie.endswith(b": ") else b""), 1)

    urls = _urls(b"".join(members(records, packing)))

    assert [f"http://a.org/{n}" for n in (0, 1, 3, 4)] == urls


def test_a_length_a_little_too_short_is_forgiven() -> None:
    """The record counts, as truncated, when another one follows within a few bytes."""
    records = [response(f"http://a.org/{n}", HTML) for n in range(3)]
    length = len(records[1]) - records[1].index(b"\r\n\r\n") - 8
    records[1] = records[1].replace(f"Content-Length: {length}".encode(), f"Content-Length: {length - 5}".encode(), 1)

    got = found(b"".join(records))

    assert [False, True, False] == [isinstance(each, WarcRecord) and each.truncated for each in got]


def test_records_that_share_a_member_are_not_alone() -> None:
    """They cannot be read by offset; FastWARC's offsets of them are no record's."""
    records = [response(f"http://a.org/{n}", HTML * 50) for n in range(6)]
    file = gzip.compress(b"".join(records[:3]), mtime=0) + b"".join(members(records[3:], "gzip"))

    got = found(file)

    assert [False, False, False, True, True, True] == [isinstance(each, WarcRecord) and each.alone for each in got]
    assert 6 == len(_urls(file))
    assert [] == list(sound_records(io.BytesIO(file), packing_in(file), 0, None, 1 << 20))


@pytest.mark.parametrize("block", [100, 700, 5000])
def test_records_that_run_over_members_are_put_together(block: int) -> None:
    """Files that were cut into gzip members without regard to records, as bgzip does, end with an empty member."""
    whole = b"".join(response(f"http://a.org/{n}", HTML * 30) for n in range(7))
    file = b"".join(
        gzip.compress(whole[at : at + block], mtime=0) for at in range(0, len(whole), block)
    ) + gzip.compress(b"", mtime=0)

    assert [f"http://a.org/{n}" for n in range(7)] == _urls(file)
    assert not any(isinstance(each, Gap) for each in found(file))


def test_a_zstandard_file_may_bring_its_dictionary() -> None:
    """It stands in a skippable frame at the start, which is no gap."""
    file = with_dictionary([response(f"http://a.org/{n}", HTML) for n in range(4)])

    assert [f"http://a.org/{n}" for n in range(4)] == _urls(file)
    assert not any(isinstance(each, Gap) for each in found(file))


def test_a_huge_head_is_damage() -> None:
    """A head of 100 MB is neither held nor believed, and its neighbours are there."""
    before, after = response("http://a.org/1", HTML), response("http://a.org/2", HTML)
    huge = b"WARC/1.0\r\nWARC-Type: response\r\nContent-Length: 1\r\nX: " + b"x" * (100 << 20)

    assert ["http://a.org/1", "http://a.org/2"] == _urls(before + huge + b"\r\n\r\n.\r\n\r\n" + after)


def test_of_a_huge_record_only_the_budget_is_held() -> None:
    """The block's whole length is known, its first bytes are kept."""
    file = gzip.compress(response("http://a.org/1", bytes(30 << 20)), mtime=0)

    (record,) = found(file)

    assert isinstance(record, WarcRecord)
    assert 1 << 20 == len(record.block)
    assert record.block_length > 30 << 20
