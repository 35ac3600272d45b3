"""Folders as img2dataset 1.47 writes them: the same columns of the same types, the same members under the same keys."""

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

SCHEMA = pa.schema(
    [
        ("url", pa.string()),
        ("key", pa.string()),
        ("status", pa.string()),
        ("error_message", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("original_width", pa.int32()),
        ("original_height", pa.int32()),
        ("exif", pa.string()),
        ("sha256", pa.string()),
    ]
)


def success(url: str, data: bytes, /, **columns: Any) -> dict[str, Any]:
    """The row of a URL that gave these bytes, stored as they came (disable_all_reencoding): it then looks at no sizes."""
    return {"url": url, "status": "success", "sha256": hashlib.sha256(data).hexdigest(), "data": data} | columns


def failed(url: str, message: str, status: str = "failed_to_download") -> dict[str, Any]:
    """The row of a URL that gave nothing."""
    return {"url": url, "status": status, "error_message": message}


def write_shard(folder: Path, number: int, rows: list[dict[str, Any]], as_files: bool = False) -> Path:
    """A shard of its output format webdataset, or files; returns the tar, or the folder of the files."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{number:05d}"
    rows = [dict.fromkeys(SCHEMA.names) | {"key": f"{number * 10000 + n:09d}"} | row for n, row in enumerate(rows)]
    members = [member for row in rows if row.get("data") is not None for member in _members(row)]
    if as_files:
        (folder / name).mkdir()
        for file, data in members:
            (folder / name / file).write_bytes(data)
    else:
        with tarfile.open(folder / f"{name}.tar", "w") as tar:
            for file, data in members:
                info = tarfile.TarInfo(file)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    plain = [{column: row[column] for column in SCHEMA.names} for row in rows]
    pq.write_table(pa.Table.from_pylist(plain, schema=SCHEMA), folder / f"{name}.parquet")
    (folder / f"{name}_stats.json").write_text(json.dumps({"count": len(rows)}))
    return folder / (name if as_files else f"{name}.tar")


def _members(row: dict[str, Any]) -> list[tuple[str, bytes]]:
    described = {name: row[name] for name in SCHEMA.names}
    return [(f"{row['key']}.jpg", row["data"]), (f"{row['key']}.json", json.dumps(described, indent=4).encode())]
