"""A folder of media that img2dataset has fetched, or the media of another run of ours, whose tars have the same layout and whose tables have other columns.

    00000.parquet   a row a URL that it asked: url, key, status, error_message; sizes in px; a hash of the bytes that came
    00000.tar       the samples of those that succeeded: KEY.jpg, KEY.txt, KEY.json; or a folder 00000/ of such files (its output format "files")

In: the folder's URL. Out: its shards, the rows of a shard, and the media of those rows in one pass over the tar. Which URLs are there is seen in the
Parquet files alone; a tar is opened when something of it is wanted.
"""

import tarfile
from collections.abc import Collection, Iterator, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.read.files import blamed, filesystem, path_type
from pipeline.read.inputs import find_inputs
from pipeline.retry import passing
from pipeline.store import Store
from pipeline.urls import media_key
from schemas.errors import InputError
from schemas.shard import sample_key
from schemas.tables import MEDIA, check_table

_HASHES = ("sha256", "sha512", "md5")  # of img2dataset's option compute_hash
_NEEDED = ("url", "key", "status")
_WANTED = (*_NEEDED, "error_message", "width", "height", "original_width", "original_height", *_HASHES)
_OURS = ("media_key", "detail", "source_width", "source_height", "source_sha256")
_BESIDE = ("json", "txt")  # members that are no medium
_THREADS = 16


class FolderRow(msgspec.Struct, frozen=True, kw_only=True):
    """What the folder says of one URL, in img2dataset's words; a `status` of ours is a drop reason, and what came out of a crawl has no URL. `size` and `source_size` are (width, height) in px of what it stored and of what came, None where it did not look.

    `hash_name` and `hash` (hex) are of the bytes that came, empty if it made none; `repeated`: another row has the same key.
    """

    key: str
    url: str | None
    status: str
    message: str
    size: tuple[int, int] | None
    source_size: tuple[int, int] | None
    hash_name: str
    hash: str
    repeated: bool


class MediaShard(msgspec.Struct, frozen=True, order=True):
    """A Parquet file with the tar or the folder that belongs to it. `identity` says which content they have."""

    name: str
    folder: str
    identity: str
    is_tar: bool


def find_shards(url: str, digests: MutableMapping[tuple[str, int, int], str]) -> list[MediaShard]:
    """The shards of a folder, by name. `digests` as for `find_inputs`.

    Raises:
        SchemaError: the media of another run are of another version.
        InputError: no folder; nothing in it that img2dataset wrote; a tar without its table or a table without its tar; a format that is not taken.
        SurroundingsError: a disk or store refuses.
    """
    fs, path = filesystem(url)
    with blamed(url):
        if path_type(fs, path) != "directory":
            raise InputError(f"{url}: no such folder")
        listed = {
            info["name"].rstrip("/").rpartition("/")[2]: info for info in passing(lambda: fs.ls(path, detail=True))
        }
    stems = {kind: _stems(listed, kind) for kind in (".parquet", ".tar", ".tfrecord")}
    if stems[".tfrecord"]:
        raise InputError(f"{url} holds TFRecords; {_FORMATS}")
    if alone := sorted(stems[".tar"] - stems[".parquet"]):
        raise InputError(f"{url}/{alone[0]}.tar has no {alone[0]}.parquet beside it, which img2dataset writes with it")
    folders = {name for name, info in listed.items() if info["type"] == "directory"}
    names = sorted(name for name in stems[".parquet"] if name in stems[".tar"] | folders or name.isdigit())
    if not names:
        raise InputError(f"{url} holds nothing that img2dataset has written, such as 00000.tar and 00000.parquet")
    store = Store(url)
    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(lambda name: _check(store, name, name in stems[".tar"] | folders), names))
    tables = find_inputs(
        [f"{url}/{name}.parquet" for name in names], digests=digests, kind=lambda file, ranges: "parquet"
    )
    found = []
    for table in tables:
        name = table.name.removesuffix(".parquet")
        tar_bytes = listed[f"{name}.tar"]["size"] if name in stems[".tar"] else 0
        found.append(MediaShard(name, url, f"{table.identity},{tar_bytes}", name in stems[".tar"]))
    return sorted(found)


_FORMATS = "m3w takes img2dataset's output formats webdataset and files"


def _stems(names: Mapping[str, Any], suffix: str) -> set[str]:
    return {name.removesuffix(suffix) for name in names if name.endswith(suffix)}


def _check(store: Store, name: str, has_media: bool) -> None:
    """Makes sure that a table is whole and has what is needed of it."""
    where = f"{store.url}/{name}.parquet"
    with store.open(f"{name}.parquet") as file:
        try:
            schema = pq.read_schema(file)
        except pa.ArrowInvalid as error:
            raise InputError(
                f"{where} is no whole Parquet file; has img2dataset ended? Its command goes on if it is run again ({error})"
            ) from None
    if _is_ours(schema):
        check_table(schema, MEDIA, where)
        return
    missing = [column for column in _NEEDED if column not in schema.names or not _is_text(schema.field(column).type)]
    if missing:
        raise InputError(f"{where} has no column of strings {' and '.join(missing)}, as img2dataset writes it")
    if not has_media:
        in_table = any(pa.types.is_binary(field.type) for field in schema)
        raise InputError(
            f"{where} holds the pictures itself; {_FORMATS}" if in_table else f"{where} has no {name}.tar beside it"
        )


def _is_ours(schema: pa.Schema) -> bool:
    return b"m3w.table" in (schema.metadata or {})


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def read_offers(shard: MediaShard) -> list[tuple[int, bytes, bool]]:
    """(row, media key, whether it failed); a row without URL or status offers nothing, nor do clips and tracks of ours."""
    table = _read(shard, ("url", "status", "media_key", "kind"))
    if _is_ours(table.schema):
        ours = enumerate(table.select(["media_key", "status", "kind"]).to_pylist())
        return [(n, row["media_key"], row["status"] != "ok") for n, row in ours if row["kind"] == "image"]
    rows = zip(table["url"].to_pylist(), table["status"].to_pylist(), strict=True)
    named = [(row, url, status) for row, (url, status) in enumerate(rows) if url and status]
    return [(row, bytes.fromhex(sample_key(media_key(url))), status != "success") for row, url, status in named]


def read_rows(shard: MediaShard, places: list[int]) -> list[FolderRow]:
    """These rows of a shard."""
    table = _read(shard, (*_WANTED, *_OURS))
    if _is_ours(table.schema):
        return [_our_row(row) for row in table.take(places).to_pylist()]
    counts = {one["values"]: one["counts"] for one in table["key"].value_counts().to_pylist()}
    return [_row(row, counts[row["key"]] > 1) for row in table.take(places).to_pylist()]


def _our_row(row: dict[str, Any]) -> FolderRow:
    return FolderRow(
        key=row["media_key"].hex(),
        url=row["url"],
        status="success" if row["status"] == "ok" else row["status"],
        message=row["detail"] or "",
        size=_size(row["width"], row["height"]),
        source_size=_size(row["source_width"], row["source_height"]),
        hash_name="sha256",
        hash=(row["source_sha256"] or b"").hex(),
        repeated=False,
    )


def _row(row: dict[str, Any], repeated: bool) -> FolderRow:
    hash_name = next((name for name in _HASHES if isinstance(row.get(name), str)), "")
    message = row.get("error_message")
    return FolderRow(
        key=row["key"] or "",
        url=row["url"],
        status=row["status"],
        message=message if isinstance(message, str) else "",
        size=_size(row.get("width"), row.get("height")),
        source_size=_size(row.get("original_width"), row.get("original_height")),
        hash_name=hash_name,
        hash=row[hash_name].lower() if hash_name else "",
        repeated=repeated,
    )


def _size(width: object, height: object) -> tuple[int, int] | None:
    """Sizes are floats where a table went through pandas, with NaN for null."""
    if isinstance(width, int | float) and isinstance(height, int | float) and width > 0 and height > 0:
        return int(width), int(height)
    return None


def _read(shard: MediaShard, columns: Collection[str]) -> pa.Table:
    """Those of the columns that the table has."""
    name = f"{shard.name}.parquet"
    with Store(shard.folder).open(name) as file:
        try:
            parquet = pq.ParquetFile(file)
            return parquet.read(columns=[column for column in parquet.schema_arrow.names if column in columns])
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(f"{shard.folder}/{name} cannot be read: {error}") from None


def read_media(shard: MediaShard, limits: Mapping[str, int]) -> Iterator[tuple[str, bytes | int]]:
    """(key, bytes) of the wanted keys that are there, in the tar's order, each once; where they are more than the key's limit, only their number.

    A tar that is cut or broken ends early.
    """
    found = _tar_media(shard, limits) if shard.is_tar else _file_media(shard, limits)
    seen: set[str] = set()
    for key, data in found:
        if key not in seen:
            seen.add(key)
            yield key, data


def _tar_media(shard: MediaShard, limits: Mapping[str, int]) -> Iterator[tuple[str, bytes | int]]:
    with Store(shard.folder).open(f"{shard.name}.tar") as file:
        try:
            with tarfile.open(fileobj=file, mode="r:") as tar:
                for info in tar:
                    tar.members = []  # type: ignore[attr-defined]  # headers that were read must not stay in memory
                    key, extension = _split(info.name)
                    if not info.isfile() or key not in limits or extension in _BESIDE:
                        continue
                    data = _member(tar, info, limits[key])
                    if data is None:
                        return
                    yield key, data
        except (tarfile.TarError, EOFError, ValueError):
            return


def _member(tar: tarfile.TarFile, info: tarfile.TarInfo, limit: int) -> bytes | int | None:
    """A member's bytes, their number if it is over the limit, or None where the tar ends before they do."""
    if info.size > limit:
        return info.size
    member = tar.extractfile(info)
    data = member.read() if member else b""
    return data if len(data) == info.size else None


def _file_media(shard: MediaShard, limits: Mapping[str, int]) -> Iterator[tuple[str, bytes | int]]:
    store = Store(f"{shard.folder}/{shard.name}")
    for name, size in store.files().items():
        key, extension = _split(name)
        if key in limits and extension not in _BESIDE:
            yield key, store.read(name) if size <= limits[key] else size


def _split(name: str) -> tuple[str, str]:
    """(key, extension) of a member, as webdataset cuts it."""
    key, _, extension = name.rpartition("/")[2].partition(".")
    return key, extension.lower()
