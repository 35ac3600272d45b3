"""Pages out of Parquet: a row is a page, in the columns `url` and `html`.

In: a Parquet file and a range of its row groups. Out: a `Page` or a `Drop` for each row. `html` is bytes or text; `date` (text or a timestamp), `charset`
and `content_type` are taken where they are there.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import msgspec

from pipeline.read.files import opened
from pipeline.read.page import Page
from schemas.document import Provenance
from schemas.drops import Drop, DropReason
from schemas.errors import InputError

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

_NEEDED = ("url", "html")
_OPTIONAL = ("date", "charset", "content_type")
_BATCH_ROWS = 64  # ours: a batch is held in memory


def row_groups(url: str) -> list[int]:
    """The bytes of each row group, uncompressed.

    Raises:
        InputError: not a Parquet file, or one without the columns that are needed.
    """
    with opened(url) as handle:
        table = _open(handle.file, url)
        return [table.metadata.row_group(index).total_byte_size for index in range(table.metadata.num_row_groups)]


def parquet_pages(url: str, name: str, start: int, end: int | None, *, max_page_bytes: int) -> Iterator[Page | Drop]:
    """The rows of the row groups [start, end), the row's number in the file as its offset."""
    with opened(url) as handle:
        table = _open(handle.file, url)
        metadata = table.metadata
        groups = range(start, metadata.num_row_groups if end is None else end)
        row = sum(metadata.row_group(index).num_rows for index in range(start))
        columns = [column for column in (*_NEEDED, *_OPTIONAL) if column in table.schema_arrow.names]
        for batch in table.iter_batches(batch_size=_BATCH_ROWS, row_groups=list(groups), columns=columns):
            for values in batch.to_pylist():
                yield _page(values, Provenance(source=name, offset=row, length=1), max_page_bytes)
                row += 1


def _open(file: Any, url: str) -> "ParquetFile":
    import pyarrow
    from pyarrow.parquet import ParquetFile

    try:
        table = ParquetFile(file)
    except pyarrow.ArrowInvalid as error:
        raise InputError(f"{url}: not a Parquet file: {str(error).splitlines()[0]}") from None
    if missing := [column for column in _NEEDED if column not in table.schema_arrow.names]:
        have = ", ".join(table.schema_arrow.names)
        raise InputError(
            f"{url}: a page needs the columns url and html; there is no {' and no '.join(missing)} among {have}"
        )
    return cast("ParquetFile", table)


def _page(values: dict[str, Any], provenance: Provenance, max_page_bytes: int) -> Page | Drop:
    url, html, charset = values["url"], values["html"], values.get("charset")
    where = f"{provenance.source}, row {provenance.offset}"
    if not isinstance(url, str) or not isinstance(html, str | bytes):
        return Drop(
            kind="page",
            reason=DropReason.BAD_RECORD,
            detail=f"{where}: url or html is missing or of another type",
            source=provenance.source,
            offset=provenance.offset,
        )
    if isinstance(html, str):
        html, charset = html.encode("utf-8", "surrogatepass"), "utf-8"
    if len(html) > max_page_bytes:
        return Drop(
            kind="page",
            reason=DropReason.BODY_TOO_LARGE,
            url=url,
            value=len(html),
            threshold=max_page_bytes,
            detail=where,
            source=provenance.source,
            offset=provenance.offset,
        )
    return Page(
        url=url,
        html=html,
        charset=charset if isinstance(charset, str) else None,
        content_type=values.get("content_type") or "text/html",
        status=200,
        date=_date(values.get("date")),
        robots=[],
        provenance=provenance,
    )


def _date(value: object) -> str:
    if isinstance(value, datetime):
        return msgspec.json.decode(
            msgspec.json.encode(value.replace(tzinfo=value.tzinfo or UTC).astimezone(UTC)), type=str
        )
    return value if isinstance(value, str) else ""
