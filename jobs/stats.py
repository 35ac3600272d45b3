"""m3w stats: a run in numbers."""

import sys

from rich.console import Console

from jobs.summary import print_summary
from pipeline.report import MANIFEST
from pipeline.runfolder import RunFolder
from schemas.errors import InputError
from schemas.manifest import Manifest, decode_manifest


def run(url: str, as_json: bool) -> None:
    """Prints the manifest's counts, as JSON or as tables."""
    store = RunFolder(url).store
    data = store.read(MANIFEST) if store.exists(MANIFEST) else None
    if data is None:
        raise InputError(
            f"{url}: no finished run here ({MANIFEST} is missing); run m3w crawl, or again if it was interrupted"
        )
    manifest = decode_manifest(data)
    if as_json:
        sys.stdout.write(data.decode())
    else:
        print_summary(manifest, Console(), reasons=1000)


def load_manifest(folder: RunFolder) -> Manifest:
    """The manifest of a finished run."""
    return decode_manifest(folder.store.read(MANIFEST))
