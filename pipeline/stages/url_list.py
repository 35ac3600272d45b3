"""fetch, by another downloader: the URLs of one bucket of hosts -> a Parquet file of them."""

import io

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.isolate import Note
from pipeline.runfolder import RunFolder
from pipeline.stages.fetch_web import AskTask, chunks
from pipeline.stages.wanted import unpack_wanted

SCRATCH = "fetch-scratch"  # in the run's folder, while a round is under way


def scratch(generation: int, number: int) -> str:
    """The folder of a round's lists and of what comes of them."""
    return f"{SCRATCH}/{generation:03d}-{number:02d}"


def write_urls(task: AskTask, note: Note, skip: frozenset[int]) -> list[str]:
    """Writes the pictures' URLs of a bucket, its hosts in turns; returns the file's name, if there are any.

    Videos and tracks are left out: a downloader of pictures would hold them in memory, whatever their size.
    """
    pictures = [one for one in unpack_wanted(task.wanted) if one.kind == "image"]
    urls = [one.url for _, chunk in chunks(pictures, len(pictures) or 1) for one in chunk]
    if not urls:
        return []
    file = io.BytesIO()
    pq.write_table(pa.table({"url": pa.array(urls, pa.string())}), file, compression="zstd")
    name = f"{scratch(task.generation, task.round)}/urls/{task.bucket:04d}.parquet"
    RunFolder(task.run_url).store.write(name, file.getvalue())
    return [name]
