"""Documents meet their media: which pictures stay when several are the same, or stand in the page's metadata only."""

import msgspec
import numpy as np

from pipeline.filters.pii import PiiConfig
from pipeline.pairs import frequency
from pipeline.pairs.config import PairsConfig
from pipeline.stages.assemble import Finished
from pipeline.stages.assemble import finish as finish_row
from pipeline.stages.extract import TRACK_RANK
from pipeline.stages.media_records import EXTENSIONS, FOUND, MATCH, MEDIUM, REASONS
from pipeline.stages.packed import Records, join
from pipeline.stages.pairing import Beside, text_hash
from pipeline.stages.picks import first_documents, found, match, pick, usable_matches
from pipeline.stages.selection import CANDIDATE, SEEN
from schemas.document import Candidate, Document, DraftMedium, Text, Video, encode_draft_nodes
from schemas.drops import Drop, DropReason
from schemas.markup import render
from schemas.pair import VideoTextPair

TEXT = Text("some text")


def stored_page(media: list[DraftMedium]) -> dict[str, object]:
    """The row of a page of a text and these media."""
    return {
        "nodes": encode_draft_nodes([TEXT, *media]).decode(),
        "key": "0" * 32,
        "url": "http://a.example/",
        "source": "x.warc.gz",
        "offset": 0,
        "length": 1,
        "digest": "",
        "title": "",
        "date": "",
        "language": "en",
        "language_score": 0.9,
        "licence": "",
        "columns": None,
    }


NOTHING_GONE: dict[str, bytes | None] = {"gone_nodes": None, "gone_candidates": None}


def finish(
    media: list[DraftMedium], digests: list[bytes | None], verdict: dict[str, bytes | None] = NOTHING_GONE
) -> tuple[Document | None, list[Drop]]:
    """Finishes a page of a text and these media; a digest a medium whose picture was found, None for one that was not."""
    matches = np.zeros(sum(digest is not None for digest in digests), dtype=MATCH)
    found = [number for number, digest in enumerate(digests) if digest is not None]
    for one, number in zip(matches, found, strict=True):
        one["medium"], one["ok"], one["width"], one["height"], one["bytes"] = number, True, 9, 9, 9
        one["sha256"] = np.void(digests[number] or b"")
    made = finished(stored_page(media), matches, verdict)
    return made.document, made.drops


def finished(
    stored: dict[str, object],
    matches: Records,
    verdict: dict[str, bytes | None] = NOTHING_GONE,
    frequent: frozenset[tuple[int, int]] = frozenset(),
) -> Finished:
    """What comes of a row with its matches, under the default configuration."""
    beside = Beside(
        config=PairsConfig(),
        pii=PiiConfig(),
        pictures={0: 77},
        frequent=frequent,
    )
    return finish_row(stored, verdict, usable_matches(matches, verdict["gone_candidates"]), beside)


def medium(name: str, fallback: bool = False) -> DraftMedium:
    return DraftMedium(candidates=[Candidate(url=f"http://a.example/{name}", source="src")], fallback=fallback)


def test_a_pictures_twin_goes() -> None:
    """Of two pictures with the same bytes the first stays, under its own name."""
    document, drops = finish([medium("a"), medium("b"), medium("c")], [b"1" * 32, b"1" * 32, b"2" * 32])

    assert document is not None
    assert [(m.url, m.member) for m in document.media] == [
        ("http://a.example/a", "000.jpg"),
        ("http://a.example/c", "001.jpg"),
    ]
    assert [drop.reason for drop in drops] == [DropReason.REPEATED_IN_PAGE]


def test_metadata_stands_in_where_the_body_has_nothing() -> None:
    """The page's og:image is taken if no picture of the body was, and only then, also where both are the same picture."""
    alone, _ = finish([medium("og", fallback=True), medium("a")], [b"1" * 32, None])
    beside, drops = finish([medium("og", fallback=True), medium("a")], [b"1" * 32, b"1" * 32])

    assert alone is not None
    assert beside is not None
    assert [m.url for m in alone.media] == ["http://a.example/og"]
    assert [m.url for m in beside.media] == ["http://a.example/a"]
    assert [drop.reason for drop in drops] == [DropReason.FALLBACK_NOT_NEEDED]


def test_a_video_of_the_metadata_stands_in_for_videos_only() -> None:
    """Beside a picture of the body it stays, where the metadata's picture goes; beside a video of the body it goes."""
    og = [medium("og", fallback=True), msgspec.structs.replace(medium("v", fallback=True), kind="video")]
    own = msgspec.structs.replace(medium("own"), kind="video")
    picks = [
        pick(list(enumerate([*og, one])), np.concatenate([one_match(medium=n, sha256=bytes([n])) for n in range(3)]))
        for one in (medium("a"), own)
    ]

    gone = [[isinstance(one, Drop) and one.reason for one in of] for of in picks]
    assert gone == [
        [DropReason.FALLBACK_NOT_NEEDED, False, False],
        [DropReason.FALLBACK_NOT_NEEDED, DropReason.FALLBACK_NOT_NEEDED, False],
    ]


def test_without_a_picture_all_goes() -> None:
    """A page none of whose pictures was found is a drop, and its text with it."""
    document, drops = finish([medium("a")], [None])

    assert document is None
    assert [(drop.kind, drop.reason) for drop in drops] == [
        ("page", DropReason.NO_IMAGE),
        ("paragraph", DropReason.WITH_PAGE),
        ("image", DropReason.NOT_IN_CRAWL),
    ]


def test_reasons_fit_their_field() -> None:
    """A reason travels as its place in the list of reasons, in two bytes."""
    assert len(REASONS) < 2**16


def test_what_select_ruled_out_is_no_part_of_the_document() -> None:
    """Gone nodes leave without a second drop, the other media keep their matches; a gone candidate is not taken."""
    media = [medium("a"), medium("b"), medium("c")]
    gone_nodes = np.array([0, 1], dtype="<u2").tobytes()  # the text and the first picture
    gone_candidates = np.array([(2, 0)], dtype=[("medium", "<u2"), ("rank", "<u2")]).tobytes()
    document, drops = finish(
        media,
        [b"1" * 32, b"2" * 32, b"3" * 32],
        {**NOTHING_GONE, "gone_nodes": gone_nodes, "gone_candidates": gone_candidates},
    )

    assert document is not None
    assert document.text == render(document.nodes)
    assert len(document.nodes) == 1
    assert [m.url for m in document.media] == ["http://a.example/b"]
    assert [drop.reason for drop in drops] == [DropReason.NOT_IN_CRAWL]


def matched(candidates: list[tuple[int, int, int]], media: list[dict[str, int]]) -> list[tuple[int, int, int, int]]:
    """(medium, rank, generation, clip) of what `match` gives for candidates (key, medium, rank) of one document and media rows."""
    wanted, rows = np.zeros(len(candidates), dtype=CANDIDATE), np.zeros(len(media), dtype=MEDIUM)
    for record, (key, number, rank) in zip(wanted, candidates, strict=True):
        record["hi"], record["medium"], record["rank"] = key, number, rank
    for record, fields in zip(rows, media, strict=True):
        for name, value in fields.items():
            record[name] = value
    blobs = found([first_documents(wanted, 1).tobytes()], [one.tobytes() for one in rows])
    records = match(wanted, join([blob for _, blob in blobs], FOUND))
    return [tuple(int(one[name]) for name in ("medium", "rank", "generation", "clip")) for one in records]  # type: ignore[misc]


def test_of_many_rows_of_a_url_a_good_one_counts_then_the_latest() -> None:
    """A retry that failed does not hide what an earlier asking got; of two failures the later one says why."""
    good = [{"hi": 1, "ok": True, "generation": 0}, {"hi": 1, "generation": 1}]
    failed = [{"hi": 2, "generation": 0}, {"hi": 2, "generation": 3}, {"hi": 2, "generation": 1}]

    assert matched([(1, 0, 0), (2, 1, 0), (3, 2, 0)], good + failed) == [(0, 0, 0, 0), (1, 0, 3, 0)]
    assert matched([(1, 0, 0), (2, 1, 0), (3, 2, 0)], (good + failed)[::-1]) == [(0, 0, 0, 0), (1, 0, 3, 0)]


def test_what_came_of_a_redirect_counts_before_it() -> None:
    """Of the rounds of one asking the last one says what became of the URL, whatever part it stands in."""
    moved = {"hi": 1, "round": 0, "media_part": 0, "clip": 0, "reason": REASONS.index(DropReason.REDIRECTED)}
    lost = {"hi": 1, "round": 1, "media_part": 1, "clip": 0, "reason": REASONS.index(DropReason.HTTP_STATUS)}
    seen, rows = np.zeros(1, dtype=SEEN), np.zeros(2, dtype=MEDIUM)
    seen["hi"] = 1
    for record, fields in zip(rows, (moved, lost), strict=True):
        for name, value in fields.items():
            record[name] = value
    for order in (rows, rows[::-1]):
        ((_, blob),) = found([seen.tobytes()], [order.tobytes()])
        assert REASONS[join([blob], FOUND)["reason"][0]] is DropReason.HTTP_STATUS


def test_a_picture_on_every_page_is_a_record_a_part() -> None:
    """A part tells of a URL once (of some documents, for who counts them), and each of its documents gets the medium."""
    parts = []
    for number in (0, 1):
        candidates = np.zeros(300, dtype=CANDIDATE)
        candidates["hi"], candidates["part"], candidates["row"] = 7, number, np.arange(300) // 2
        candidates["rank"] = np.arange(300) % 2
        parts.append(candidates)
    medium = np.zeros(1, dtype=MEDIUM)
    medium["hi"], medium["ok"] = 7, True
    seen = [first_documents(candidates, 11) for candidates in parts]
    media = dict(found([one.tobytes() for one in seen], [medium.tobytes()]))

    assert [list(range(11))] * 2 == [one["row"].tolist() for one in seen]
    assert [1, 1] == [len(join([media[number]], FOUND)) for number in (0, 1)]
    for number, candidates in enumerate(parts):
        matches = match(candidates, join([media[number]], FOUND))
        assert candidates[["part", "row", "rank"]].tolist() == matches[["part", "row", "rank"]].tolist()


def test_a_video_brings_all_its_clips() -> None:
    """Each candidate of a cut video is matched with every clip of one cutting, and with none of an older one."""
    old = [{"hi": 1, "ok": True, "generation": 0, "clip": clip} for clip in range(4)]
    new = [{"hi": 1, "ok": True, "generation": 1, "clip": clip} for clip in range(3)]

    assert matched([(1, 5, 2), (9, 6, 0)], new[::-1] + old) == [(5, 2, 1, 0), (5, 2, 1, 1), (5, 2, 1, 2)]


def test_a_videos_tracks_are_no_candidates() -> None:
    """A text track that was found does not make its video a medium."""
    matches = np.zeros(1, dtype=MATCH)
    matches["ok"], matches["rank"] = True, TRACK_RANK

    picks = pick([(0, medium("v"))], matches)
    assert [type(one) for one in picks] == [Drop]


def test_a_clip_stands_in_the_document() -> None:
    """The first clip of a cut video is a video node with its seconds; the other clips are no media of the document."""
    matches = np.zeros(2, dtype=MATCH)
    for clip, one in enumerate(matches):
        one["ok"], one["clip"], one["duration_s"], one["fps"] = True, clip, 4.5, 25
        one["width"], one["height"], one["bytes"] = 64, 48, 9
        one["extension"], one["sha256"] = EXTENSIONS.index("mp4"), np.void(bytes([clip]) * 32)
    video = DraftMedium(kind="video", candidates=[Candidate(url="http://a.example/v.mp4", source="src")])
    made = finished(stored_page([video]), matches)

    assert made.document is not None
    assert made.drops == []
    assert [(m.member, m.duration_s, m.fps) for m in made.document.media if isinstance(m, Video)] == [
        ("000.mp4", 4.5, 25)
    ]


def one_match(**fields: object) -> Records:
    """A usable picture of 300 x 300 px for the first medium."""
    matches = np.zeros(1, dtype=MATCH)
    size = dict.fromkeys(("width", "height", "source_width", "source_height"), 300)
    for name, value in {"ok": True, "bytes": 9, **size, **fields}.items():
        matches[name] = value
    return matches


def pictured(**texts: str) -> DraftMedium:
    return DraftMedium(candidates=[Candidate(url="http://a.example/a.jpg", source="src")], **texts)  # type: ignore[arg-type]


def test_a_picture_makes_a_pair_with_each_text_about_it() -> None:
    """Alt text and caption make a pair each, the same text a second time does not, and each text is counted."""
    made = finished(
        stored_page([pictured(alt="A heron on one leg", caption="Heron near Leiden")]),
        one_match(phash=np.void(b"12345678")),
    )
    twice = finished(
        stored_page([pictured(alt="A heron on one leg", caption="A heron on one leg", title="bird")]), one_match()
    )

    assert [(p.caption_source, p.caption) for p, _ in made.pairs] == [
        ("alt", "A heron on one leg"),
        ("caption", "Heron near Leiden"),
    ]
    assert made.texts == 2
    assert len({p.key for p, _ in made.pairs}) == 2
    assert [(d.kind, d.reason) for d in twice.drops] == [
        ("pair", DropReason.DUPLICATE_PAIR),
        ("pair", DropReason.TOO_FEW_WORDS),
    ]
    assert twice.texts == 3


def test_frequent_texts_and_ruled_out_captions_make_no_pair() -> None:
    """What the run counted, by text and by picture, and what select ruled out, each with its reason."""
    page = stored_page([pictured(alt="A Heron on one leg")])
    text = finished(page, one_match(), frequent=frozenset({(text_hash("a heron on one leg"), frequency.TEXT)}))
    picture = finished(page, one_match(), frequent=frozenset({(77, frequency.PICTURE)}))

    reasons = [made.drops[0].reason for made in (text, picture)]
    assert reasons == [DropReason.FREQUENT_CAPTION, DropReason.TOO_MANY_CAPTIONS]


def test_each_clip_makes_a_pair() -> None:
    """A cut video's caption goes with each of its clips, each under its own key with its own seconds."""
    matches = np.concatenate(
        [
            one_match(clip=n, start_s=5.0 * n, duration_s=5, fps=25, extension=3, sha256=np.void(bytes([n]) * 32))
            for n in (0, 1)
        ]
    )
    video = msgspec.structs.replace(pictured(caption="A heron takes off"), kind="video")
    made = finished(stored_page([video]), matches)

    assert [(p.start_s, p.caption) for p, _ in made.pairs if isinstance(p, VideoTextPair)] == [
        (0.0, "A heron takes off"),
        (5.0, "A heron takes off"),
    ]
    assert len({p.key for p, _ in made.pairs}) == 2


def test_a_tables_row_is_one_pair_and_no_document() -> None:
    """Its text is the user's, however short; its other columns go with it; without its picture it is a dropped pair."""
    row = {**stored_page([pictured(caption="heron")]), "columns": '{"score":0.5}'}
    row["nodes"] = encode_draft_nodes([pictured(caption="heron")]).decode()
    made, lost = finished(row, one_match()), finished(row, np.zeros(0, dtype=MATCH))

    assert made.document is None
    assert [(p.caption, p.columns, p.page_url) for p, _ in made.pairs] == [("heron", {"score": 0.5}, "")]
    assert [(d.kind, d.reason, d.detail.split()[0]) for d in lost.drops] == [("pair", DropReason.NOT_IN_CRAWL, "1")]
    assert (made.texts, lost.texts) == (0, 0)


def test_personal_data_is_replaced_everywhere() -> None:
    """In text nodes, alt texts, captions and the pairs made of them."""
    page = stored_page([pictured(alt="Write to jane.doe@mail.net about herons")])
    made = finished(page, one_match())

    assert made.document is not None
    assert made.document.media[0].alt == made.pairs[0][0].caption == "Write to email@example.com about herons"
