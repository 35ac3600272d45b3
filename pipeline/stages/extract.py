"""extract: one slice of the crawl to one set of parts (documents, media index, policies, drops).

Per page: decode and draft, detect the language, filter. Per image or video record: a row of the media index. Every page, paragraph and medium that is
not in `documents` is a row in `drops`, and is counted. Pictures inside a page's own text (`data:` URLs) and media without random access are copied
into `media-copies/`, so that the fetch stage finds all bytes by (name, offset, length).
"""

import hashlib

import msgspec

from pipeline.config import ExtractConfig
from pipeline.dedup.minhash import signature
from pipeline.extract.page import draft
from pipeline.extract.placeholders import decode_data_url
from pipeline.filters import FilterConfig, Filtered, filter_draft
from pipeline.isolate import Note
from pipeline.read.records import MediaRecord, Page, Policy, Record, Redirect, read
from pipeline.read.slices import Slice
from pipeline.runfolder import PartWriter, RunFolder
from pipeline.stages.media_index import MediaIndexWriter, key16
from pipeline.urls import media_key, page_key
from schemas.document import Candidate, Draft, DraftMedium, Provenance, Text, encode_draft_nodes
from schemas.drops import Drop, DropReason
from schemas.shard import sample_key
from schemas.tables import DOCUMENTS, DROPS, POLICIES, TableWriter

STAGE = "extract"
MAX_MEDIA = 10_000  # ours: galleries of archives show up to some hundred
MAX_CANDIDATES = 1_000  # ours: a picture has up to some twenty renditions; what stands behind these is not looked for
TRACK_RANK = 1 << 15  # a video's text tracks are looked for like candidates; their ranks start here
RULES_VERSION = 6  # raised when the same page and configuration give another document


class ExtractTask(msgspec.Struct, frozen=True, kw_only=True):
    """One slice to be extracted into one part of a run."""

    run_url: str
    part: str
    slice: Slice
    config: ExtractConfig
    filters: FilterConfig
    page_limit: int | None = None


def extract_slice(task: ExtractTask, note: Note, skip: frozenset[int]) -> dict[str, int]:
    """Writes the part of one slice and returns its counts; records whose ordinal is in `skip` become drops."""
    with RunFolder(task.run_url).part(STAGE, task.part) as part:
        part.detail = task.slice.input.name
        writer = _SliceWriter(task, part)
        for ordinal, record in enumerate(read(task.slice, task.config.read, base_url=task.config.base_url)):
            if task.page_limit is not None and writer.pages >= task.page_limit:
                break
            if ordinal in skip:
                writer.killer(record)
                continue
            note(ordinal)
            writer.add(record)
        writer.close()
        return dict(part.counts)


def ranked_urls(medium: DraftMedium) -> list[tuple[int, str]]:
    """(rank, URL) of all that is looked for on behalf of a medium: its candidates, then its text tracks."""
    candidates = [(rank, candidate.url) for rank, candidate in enumerate(medium.candidates[:MAX_CANDIDATES])]
    return candidates + [(TRACK_RANK + place, url) for place, url in enumerate(medium.tracks[:MAX_CANDIDATES])]


class _SliceWriter:
    """The tables of one slice in the making."""

    def __init__(self, task: ExtractTask, part: PartWriter) -> None:
        self._task, self._part, self._counts = task, part, part.counts
        self._documents = TableWriter(part.file(f"documents/{task.part}.parquet"), DOCUMENTS)
        self._media_index = MediaIndexWriter(part, task.part)
        self._drops = TableWriter(part.file(f"drops/{STAGE}-{task.part}.parquet"), DROPS)
        self._policies: TableWriter | None = None  # most slices hold none
        self._copied: dict[bytes, str] = {}  # by the digest of the URL: the URLs themselves may be a megabyte each
        self.pages = 0

    def close(self) -> None:
        self._documents.close()
        self._media_index.close()
        self._drops.close()
        if self._policies is not None:
            self._policies.close()

    def add(self, record: Record) -> None:
        match record:
            case Page():
                self._page(record)
            case MediaRecord():
                self._medium(record)
            case Redirect():
                self._redirect(record)
            case Policy():
                self._policy(record)
            case Drop():
                self._unread(record)
            case _:
                self._counts[f"records.{record.what}"] += 1

    def _policy(self, policy: Policy) -> None:
        self._counts["records.policy"] += 1
        if self._policies is None:
            self._policies = TableWriter(self._part.file(f"policies/{self._task.part}.parquet"), POLICIES)
        self._policies.add(msgspec.structs.asdict(policy))

    def killer(self, record: Record) -> None:
        """A record that ended its worker twice."""
        self._counts["records.unread"] += not isinstance(record, Page)
        if isinstance(record, Page):
            self._counts["records.page"] += 1
            self._drop_page(Drop(kind="page", reason=DropReason.WORKER_KILLED, url=record.url), record.provenance)

    def _unread(self, drop: Drop) -> None:
        self._counts["records.unread"] += 1
        if drop.kind == "page":
            self._drop_page(drop, None)
        else:  # a medium that is too large to be copied: no mention of it in a page was counted
            self._drops.add(drop_row(STAGE, drop, drop.url, None))

    def _page(self, page: Page) -> None:
        url_key = page_key(page.url)
        key = sample_key(url_key)
        if int(key[:12], 16) >= self._task.config.sample * (1 << 48):
            self._counts["records.not_sampled"] += 1
            return
        self._counts["records.page"] += 1
        try:
            page_draft = draft(page.html, page.url, charset=page.charset)
            filtered = page_draft if isinstance(page_draft, Drop) else filter_draft(page_draft, self._task.filters)
        except Exception as error:  # noqa: BLE001 - one page's fault must not cost its neighbours; it is a row
            fault = f"{type(error).__name__}: {error}"[:200]
            page_draft = Drop(kind="page", reason=DropReason.EXTRACTOR_FAULT, url=page.url, detail=fault)
        if isinstance(page_draft, Drop):
            self._drop_page(page_draft, page.provenance)
            return
        self._enter(page_draft)
        self._drop_all(page_draft.dropped, page.url, page.provenance)
        if isinstance(filtered, Filtered) and not filtered.draft.media:
            self._drop_all(filtered.drops, page.url, page.provenance)
            self._fall(filtered.draft, Drop(kind="page", reason=DropReason.NO_IMAGE, url=page.url), page.provenance)
        elif isinstance(filtered, Filtered) and (number := len(filtered.draft.media)) > MAX_MEDIA:
            self._drop_all(filtered.drops, page.url, page.provenance)
            too_many = Drop(
                kind="page", reason=DropReason.TOO_MANY_MEDIA, url=page.url, value=number, threshold=MAX_MEDIA
            )
            self._fall(filtered.draft, too_many, page.provenance)
        elif isinstance(filtered, Drop):
            self._fall(page_draft, filtered, page.provenance)
        else:
            self._drop_all(filtered.drops, page.url, page.provenance)
            self._document(page, url_key, key, filtered)

    def _enter(self, page_draft: Draft) -> None:
        for node in page_draft.nodes:
            self._counts[f"{_plural(node)}.in"] += 1
        for drop in page_draft.dropped:
            self._counts[f"{drop.kind}s.in"] += 1

    def _document(self, page: Page, url_key: str, key: str, filtered: Filtered) -> None:
        nodes = [self._copy_data_urls(node) if isinstance(node, DraftMedium) else node for node in filtered.draft.nodes]
        texts = [node.text for node in nodes if isinstance(node, Text)]
        media = [node for node in nodes if isinstance(node, DraftMedium)]
        text = "\n\n".join(texts)
        self.pages += 1
        self._counts["pages.in"] += 1
        self._counts["documents"] += 1
        self._counts["candidates"] += sum(len(ranked_urls(medium)) for medium in media)
        self._documents.add(
            {
                "key": key,
                "url": page.url,
                "url_key": bytes.fromhex(key),
                "date": page.date,
                "title": filtered.draft.title,
                "language": filtered.language,
                "language_score": filtered.language_score,
                "licence": filtered.draft.licence,
                "robots": [*page.robots, *filtered.draft.robots],
                "not_judged": list(filtered.not_judged),
                "text_key": key16(" ".join(text.split())),
                "words": len(text.split()),
                "paragraphs": len(texts),
                "images": sum(medium.kind == "image" for medium in media),
                "videos": sum(medium.kind == "video" for medium in media),
                "nodes": encode_draft_nodes(nodes).decode(),
                "media_keys": b"".join(
                    index.to_bytes(2, "little") + rank.to_bytes(2, "little") + key16(media_key(url))
                    for index, medium in enumerate(media)
                    for rank, url in ranked_urls(medium)
                ),
                "minhash": signature(text),
                "paragraph_keys": b"".join(
                    hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8] for text in texts
                ),
                **_provenance(page.provenance),
            }
        )

    def _copy_data_urls(self, medium: DraftMedium) -> DraftMedium:
        """The medium with short names in place of the `data:` URLs, whose bytes go into the copies."""
        if not any(candidate.url.startswith("data:") for candidate in medium.candidates):
            return medium
        candidates = [self._copy_data_url(c) if c.url.startswith("data:") else c for c in medium.candidates]
        return msgspec.structs.replace(medium, candidates=candidates)

    def _copy_data_url(self, candidate: Candidate) -> Candidate:
        url_digest = hashlib.sha256(candidate.url.encode("utf-8", "surrogatepass")).digest()
        if url_digest not in self._copied:
            mime, data = decode_data_url(candidate.url) or ("", b"")
            name = f"data:{mime};sha256,{hashlib.sha256(data).hexdigest() if data else url_digest.hex()}"
            self._copied[url_digest] = name
            if data:
                reference = self._media_index.copy(data)
                self._media_index.add(name, "image", mime, "", hashlib.sha256(data).hexdigest(), reference)
        return msgspec.structs.replace(candidate, url=self._copied[url_digest])

    def _medium(self, record: MediaRecord) -> None:
        self._counts[f"records.{record.kind}"] += 1
        if record.copy is not None:
            reference = self._media_index.copy(record.copy)
        else:
            reference = {
                "ref_name": record.reference.source,
                "ref_offset": record.reference.offset,
                "ref_length": 0 if record.opted_out else record.reference.length,
                "copied": False,
            }
        self._media_index.add(record.url, record.kind, record.mime, record.date, record.digest, reference)

    def _redirect(self, record: Redirect) -> None:
        self._counts["records.redirect"] += 1
        self._media_index.redirect(record.url, record.target, record.date)

    def _drop_page(self, drop: Drop, provenance: Provenance | None) -> None:
        self.pages += 1
        self._counts["pages.in"] += 1
        self._drop(drop, drop.url, provenance)

    def _fall(self, page_draft: Draft, drop: Drop, provenance: Provenance) -> None:
        """Drops a page with all that stands in its draft."""
        self._drop_page(drop, provenance)
        self._drop_all(fallen(page_draft.nodes, drop), drop.url or page_draft.url, provenance)

    def _drop_all(self, drops: list[Drop], url: str, provenance: Provenance) -> None:
        for drop in drops:
            self._drop(drop, url, provenance)

    def _drop(self, drop: Drop, url: str, provenance: Provenance | None) -> None:
        self._counts[f"{drop.kind}s.dropped.{drop.reason}"] += 1
        self._drops.add(drop_row(STAGE, drop, url, provenance))


def fallen(nodes: list[Text | DraftMedium], page: Drop) -> list[Drop]:
    """The drops of what falls with its page."""
    detail = f"page: {page.reason}"
    return [
        Drop(kind="paragraph", reason=DropReason.WITH_PAGE, detail=detail)
        if isinstance(node, Text)
        else Drop(kind=node.kind, reason=DropReason.WITH_PAGE, medium_url=node.candidates[0].url[:2000], detail=detail)
        for node in nodes
    ]


def drop_row(stage: str, drop: Drop, url: str, provenance: Provenance | None) -> dict[str, object]:
    """A row of the drops table."""
    return {
        "stage": stage,
        "kind": drop.kind,
        "reason": drop.reason.value,
        "url": drop.url or url,
        "medium_url": drop.medium_url[:2000],
        "value": drop.value,
        "threshold": drop.threshold,
        "detail": drop.detail,
        "source": provenance.source if provenance else drop.source or None,
        "offset": provenance.offset if provenance else drop.offset,
    }


def _provenance(provenance: Provenance) -> dict[str, object]:
    return {
        "source": provenance.source,
        "offset": provenance.offset,
        "length": provenance.length,
        "digest": provenance.digest,
    }


def _plural(node: Text | DraftMedium) -> str:
    return "paragraphs" if isinstance(node, Text) else f"{node.kind}s"
