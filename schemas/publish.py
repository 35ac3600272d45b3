"""JSON Schema of the forms, made from the structs themselves and kept in `schemas/json/`."""

from pathlib import Path
from typing import Any

import msgspec

from schemas.document import Document, DraftMedium
from schemas.drops import Drop
from schemas.errors import SurroundingsError
from schemas.manifest import Manifest
from schemas.pair import ImageTextPair, VideoTextPair
from schemas.shard import IndexEntry, IndexHead

FORMS: dict[str, Any] = {
    "document": Document,
    "draft_nodes": list[str | DraftMedium],
    "drop": Drop,
    "image_text_pair": ImageTextPair,
    "video_text_pair": VideoTextPair,
    "index_head": IndexHead,
    "index_entry": IndexEntry,
    "manifest": Manifest,
}


def json_schema(form: str) -> bytes:
    """The JSON Schema (2020-12) of one form, indented."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": form,
        **msgspec.json.schema(FORMS[form]),
    }
    return msgspec.json.format(msgspec.json.encode(schema), indent=1) + b"\n"


def publish(folder: str) -> list[Path]:
    """Writes `<form>.schema.json` for each form into a local folder; returns the files."""
    target = Path(folder)
    try:
        target.mkdir(parents=True, exist_ok=True)
        paths = [target / f"{form}.schema.json" for form in FORMS]
        for form, path in zip(FORMS, paths, strict=True):
            path.write_bytes(json_schema(form))
    except OSError as error:
        raise SurroundingsError(f"{folder}: {error.strerror}") from error
    return paths
