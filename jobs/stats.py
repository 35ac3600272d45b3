"""m3w stats: a run in numbers."""

import sys
from collections.abc import Iterator

from rich.console import Console

from jobs.progress import work_done
from jobs.summary import print_summary
from pipeline.report import MANIFEST, read_manifest, sum_counts
from pipeline.runfolder import FOLDERS, RunFolder
from schemas.manifest import encode_manifest


def run(url: str, as_json: bool) -> None:
    """Prints the manifest's counts, as JSON or as tables; of a run that is not finished what its stages have done so far.

    Raises:
        DataError: the run is not finished.
    """
    folder = RunFolder(url)
    if not as_json and folder.is_run() and not folder.store.exists(MANIFEST):
        for line in _so_far(folder):
            print(line)
    manifest = read_manifest(folder)
    if as_json:
        sys.stdout.write(encode_manifest(manifest).decode())
    else:
        print_summary(manifest, Console(), reasons=1000)


def _so_far(folder: RunFolder) -> Iterator[str]:
    """A line for each stage that has begun, by its commit records: on any engine, also while it works."""
    for stage in FOLDERS:
        record = folder.stage(stage)
        parts = record.parts if record else sorted(folder.committed(stage))
        if parts:
            counts = sum_counts(folder.commits_of(stage, parts))
            del counts["samples"]  # of shards, which hold the documents of other parts of the stage
            yield f"{stage}: {'finished' if record else 'so far'}, {len(parts)} parts, {work_done(stage, counts)}"
