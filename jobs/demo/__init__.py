"""m3w demo: the main job on real pages that come with m3w (`crawl/`, see CREDITS.md), then a look at its output."""

from collections.abc import Callable
from importlib.resources import as_file, files


def run(run_command: Callable[[list[str]], None], out: str, workers: int) -> None:
    """Runs, and prints, the commands that a user would type: a crawl, two of its documents, some of its drops.

    Raises:
        M3wError: as the commands themselves.
    """
    with as_file(files("jobs") / "demo" / "crawl") as crawl:
        for arguments in (
            ["crawl", str(crawl), "--out", out, "--workers", str(workers)],
            ["inspect", out, "-n", "2", "--nodes", "12"],
            ["inspect", out, "--dropped", "-n", "8"],
        ):
            print(f"\n$ m3w {' '.join(arguments)}\n", flush=True)
            run_command(arguments)
    print(f"\nShards, manifest and data set card are in {out}/shards; m3w inspect {out} -n 10 shows more.")
