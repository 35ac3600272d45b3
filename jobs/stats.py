"""m3w stats: a run in numbers."""

import sys

from rich.console import Console

from jobs.summary import print_summary
from pipeline.report import read_manifest
from pipeline.runfolder import RunFolder
from schemas.manifest import encode_manifest


def run(url: str, as_json: bool) -> None:
    """Prints the manifest's counts, as JSON or as tables."""
    manifest = read_manifest(RunFolder(url))
    if as_json:
        sys.stdout.write(encode_manifest(manifest).decode())
    else:
        print_summary(manifest, Console(), reasons=1000)
