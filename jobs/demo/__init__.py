"""m3w demo: the main job on real pages that come with m3w (`crawl/`, see CREDITS.md), then a look at its output."""

from importlib.resources import as_file, files

from jobs import cli


def run(out: str, workers: int) -> None:
    """Runs, and prints, the commands that a user would type: a crawl, two of its documents, some of its drops.

    Raises:
        M3wError: as the commands themselves.
    """
    with as_file(files("jobs") / "demo" / "crawl") as crawl:
        _type("crawl", str(crawl), "--out", out, "--workers", str(workers))
    _type("inspect", out, "-n", "2")
    _type("inspect", out, "--dropped", "-n", "8")
    print(f"\nShards, manifest and data set card are in {out}/shards; m3w inspect {out} -n 10 shows more.")


def _type(*arguments: str) -> None:
    print(f"\n$ m3w {' '.join(arguments)}\n", flush=True)
    cli.run_command(list(arguments))
