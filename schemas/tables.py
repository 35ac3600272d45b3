"""The stage tables: Arrow schemas of the Parquet files that one stage writes and the next one reads.

    documents     extract   a row a page that became a draft and passed the filters; `nodes` is JSON of [Text | DraftMedium]
    media_index   extract   a row an image or video record of the crawl, a copied `data:` picture, a redirect
    selected      select    a row a document that stays, by its row in the documents part of the same name
    media_urls    select    a row a media URL that the selected documents name, each URL once in the run
    media         fetch     a row a media URL that was looked for: where its bytes are, what was measured, or why there are none
    scores        score     a row a picture of a media part: what models say of it
    text_embeddings  score  a row a text beside a picture
    fingerprints  shard     a row a finished document: what later runs know it and its media by
    tombstones    takedown  a row a page, medium or domain that was taken down
    policies      extract   a row a robots.txt, ai.txt or tdmrep.json of the crawl
    drops         all       a row a thing that is not in the output

Keys are 16 bytes (`url_key`, `media_key`: the first half of the SHA-256 of a normalised URL). Every file carries its table's name and version in its
schema's metadata; `read_table` refuses another.
"""

from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.errors import SchemaError

TABLES_VERSION = 2
ROW_GROUP_ROWS = 1024  # ours: some 20 MB of long pages

_KEY = pa.binary(16)


def _schema(name: str, *fields: tuple[str, pa.DataType]) -> pa.Schema:
    return pa.schema(list(fields), metadata={"m3w.table": name, "m3w.version": str(TABLES_VERSION)})


# A reference to bytes: `ref_name` is an input's name, or a file of the run's own media-copies; offset and length are bytes. A record of length 0 has
# opted out: it says that the crawl holds the medium, and that nobody is to take it, there or from the web.
_REFERENCE = (("ref_name", pa.string()), ("ref_offset", pa.int64()), ("ref_length", pa.int64()), ("copied", pa.bool_()))
_PROVENANCE = (("source", pa.string()), ("offset", pa.int64()), ("length", pa.int64()), ("digest", pa.string()))

DOCUMENTS = _schema(
    "documents",
    ("key", pa.string()),
    ("url", pa.string()),
    ("url_key", _KEY),
    ("date", pa.string()),
    ("title", pa.string()),
    ("language", pa.string()),
    ("language_score", pa.float32()),
    ("licence", pa.string()),
    ("robots", pa.list_(pa.string())),
    ("not_judged", pa.list_(pa.string())),  # the filters that had no word list for the language
    ("text_key", _KEY),
    ("words", pa.int32()),
    ("paragraphs", pa.int32()),
    ("images", pa.int32()),
    ("videos", pa.int32()),
    ("nodes", pa.string()),
    ("media_keys", pa.binary()),  # of all candidates in order, packed: medium u2, rank u2, media_key
    ("minhash", pa.binary()),  # of the text's shingles (pipeline.dedup.minhash); empty for a text too short to have any
    ("paragraph_keys", pa.binary()),  # of the text nodes in order, packed: u8, the hash of the text
    ("columns", pa.string()),  # of a row of a captions table: its other columns as a JSON object
    *_PROVENANCE,
)

MEDIA_INDEX = _schema(
    "media_index",
    ("url", pa.string()),
    ("media_key", _KEY),
    ("kind", pa.string()),  # image, video or redirect
    ("mime", pa.string()),
    ("date", pa.string()),
    ("digest", pa.string()),
    ("target_key", _KEY),  # a redirect's target
    *_REFERENCE,
)

SELECTED = _schema(
    "selected",
    ("row", pa.int32()),
    ("key", pa.string()),
    ("gone_nodes", pa.binary()),  # places in `nodes` of what goes from the document, packed u2
    ("gone_candidates", pa.binary()),  # candidates that are not to be used, packed: medium u2, rank u2
)

MEDIA_URLS = _schema(
    "media_urls", ("url", pa.string()), ("media_key", _KEY), ("kind", pa.string()), ("page_url", pa.string())
)

MEDIA = _schema(
    "media",
    ("media_key", _KEY),
    ("url", pa.string()),  # null for what the crawl holds: it stands in media_urls
    ("kind", pa.string()),  # image, video or track
    ("clip", pa.int16()),  # of a video that was cut: 0 for the first clip
    ("status", pa.string()),  # ok, or a drop reason
    ("value", pa.float64()),
    ("threshold", pa.float64()),
    ("detail", pa.string()),  # the class of the error, where there was one
    ("generation", pa.int32()),  # 0 of the crawl and the first asking, one more with each retry
    ("rank", pa.int16()),  # the round in which the web was asked: 0 for best candidates; null for the crawl
    ("http_status", pa.int16()),
    ("target_key", _KEY),  # of what leads elsewhere
    ("target_url", pa.string()),
    ("extension", pa.string()),
    ("width", pa.int32()),
    ("height", pa.int32()),
    ("source_width", pa.int32()),
    ("source_height", pa.int32()),
    ("spread", pa.float32()),
    ("sharpness", pa.float32()),
    ("text_share", pa.float32()),
    ("start_s", pa.float64()),
    ("duration_s", pa.float64()),
    ("fps", pa.float64()),
    ("sha256", pa.binary(32)),
    ("source_sha256", pa.binary(32)),
    ("source_md5", pa.binary(16)),
    ("phash", pa.binary(8)),
    ("dhash", pa.binary(8)),
    ("colour", pa.binary(3)),  # the mean of red, green and blue
    ("pdq", pa.binary(32)),
    ("offset", pa.int64()),  # of the bytes in the tar of the same part
    ("bytes", pa.int64()),
)

SCORES = _schema(
    "scores",
    ("media_key", _KEY),
    ("scores", pa.map_(pa.string(), pa.float32())),  # by the scorer's name; null where it could not take the picture
)

TEXT_EMBEDDINGS = _schema(
    "text_embeddings",
    ("text_key", _KEY),  # the first half of the text's SHA-256
    ("embedding", pa.binary()),  # packed f2, of length 1
)

FINGERPRINTS = _schema(
    "fingerprints",
    ("key", pa.string()),
    ("url", pa.string()),
    ("url_key", _KEY),
    ("text_key", _KEY),
    ("minhash", pa.binary()),
    ("media", pa.binary()),  # packed: media_key 16 bytes, sha256 32, source_sha256 32, phash 8
)

TOMBSTONES = _schema(
    "tombstones",
    ("kind", pa.string()),  # page, medium or domain
    ("url", pa.string()),  # of a domain its name
    ("key", _KEY),  # of the page's or the medium's URL
    ("text_key", _KEY),
    ("minhash", pa.binary()),
    ("sha256", pa.binary(32)),
    ("source_sha256", pa.binary(32)),
    ("phash", pa.binary(8)),
    ("max_distance", pa.int8()),  # the bits of `phash` in which what went with it may differ; null: it goes alone
)

POLICIES = _schema(
    "policies",
    ("origin", pa.string()),  # scheme, host and port
    ("kind", pa.string()),  # robots, ai or tdmrep
    ("date", pa.string()),
    ("text", pa.string()),
)

DROPS = _schema(
    "drops",
    ("stage", pa.string()),
    ("kind", pa.string()),
    ("reason", pa.string()),
    ("url", pa.string()),
    ("medium_url", pa.string()),
    ("value", pa.float64()),
    ("threshold", pa.float64()),
    ("detail", pa.string()),
    ("source", pa.string()),
    ("offset", pa.int64()),
)

TABLES = {
    "documents": DOCUMENTS,
    "media_index": MEDIA_INDEX,
    "selected": SELECTED,
    "media_urls": MEDIA_URLS,
    "media": MEDIA,
    "scores": SCORES,
    "text_embeddings": TEXT_EMBEDDINGS,
    "fingerprints": FINGERPRINTS,
    "tombstones": TOMBSTONES,
    "policies": POLICIES,
    "drops": DROPS,
}


def check_table(schema: pa.Schema, expected: pa.Schema, name: str) -> None:
    """Makes sure that a file holds the expected table in this version.

    Raises:
        SchemaError: another table, another version, or other columns; `name` says which file.
    """
    found, wanted = schema.metadata or {}, expected.metadata
    if any(found.get(key) != wanted[key] for key in wanted) or schema.names != expected.names:
        table, version = (found.get(key, b"none").decode() for key in (b"m3w.table", b"m3w.version"))
        raise SchemaError(
            f"{name} holds table {table} in version {version}, expected {wanted[b'm3w.table'].decode()} in version {TABLES_VERSION}; "
            "run the stage that wrote it again"
        )


def read_table(file: BinaryIO, expected: pa.Schema, name: str, columns: list[str] | None = None) -> pa.Table:
    """Reads (some columns of) a stage table; `name` is for the message.

    Raises:
        SchemaError: as `check_table`, or the file is no Parquet.
    """
    try:
        parquet = pq.ParquetFile(file)
    except pa.ArrowInvalid as error:
        raise SchemaError(f"{name} is not a Parquet file: {error}") from error
    check_table(parquet.schema_arrow, expected, name)
    return parquet.read(columns=columns)


class TableWriter:
    """Writes a stage table row by row; holds no more than one row group in memory."""

    def __init__(self, file: BinaryIO, schema: pa.Schema) -> None:
        self._schema = schema
        self._writer = pq.ParquetWriter(file, schema, compression="zstd")
        self._rows: list[dict[str, Any]] = []
        self.count = 0

    def add(self, row: dict[str, Any]) -> None:
        """Adds a row; absent columns are null."""
        self._rows.append(row)
        self.count += 1
        if len(self._rows) >= ROW_GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
        self._rows = []

    def close(self) -> None:
        """Writes what is left and the file's end."""
        if self._rows:
            self._flush()
        self._writer.close()
