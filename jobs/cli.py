"""The command line `m3w`. Everything heavy is imported inside the subcommand that needs it."""

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from jobs.arguments import PrintSoftware, add_command, add_engine_options, positive
from jobs.cli_training import add_training
from schemas.errors import M3wError, OutputError

if TYPE_CHECKING:
    from jobs.engine import Engine
    from jobs.fetch import Source
    from jobs.job import Job
    from pipeline.read.inputs import Input

INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code: 0 done, 1 data, 2 command, 3 surroundings, 130 interrupted."""
    try:
        run_command(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
    except M3wError as error:
        return _fail(str(error), error.exit_code)
    except ModuleNotFoundError as error:
        return _fail(f"this command needs {error.name}: is m3w installed with its dependencies? (pip install m3w)", 3)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has seen enough
    except KeyboardInterrupt:
        return _fail("interrupted; the same command goes on where it stopped", INTERRUPTED)
    return 0


def run_command(arguments: list[str]) -> None:
    """Runs one command; what goes wrong is raised.

    Raises:
        M3wError: what is at fault, by its class.
        SystemExit: the command cannot be parsed (2), or asks for help (0).
    """
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    options = _parser().parse_args(arguments[:cut])
    options.beam_options = arguments[cut + 1 :]
    options.run(options)


def _fail(message: str, code: int) -> int:
    print(f"m3w: {' '.join(message.split())}", file=sys.stderr)
    return code


def script() -> None:
    """The console script: ends the process at once, so that threads of an engine cannot hold up the end after an error."""
    logging.disable(logging.CRITICAL)  # Beam logs whole tracebacks of what the user gets as one line
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="m3w",
        description="Web crawls to interleaved image-text training data.",
        epilog="Everything after -- goes to Beam. Exit codes: 0 done, 1 the data is at fault, 2 the command is, 3 the surroundings are.",
    )
    parser.add_argument("--version", action=PrintSoftware, help="m3w, Python and the libraries that decide the bytes")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    crawl = add_command(
        commands, "crawl", _crawl, "crawls to shards: extract, select, fetch, shard; resumes what is unfinished"
    )
    extract = add_command(commands, "extract", _extract, "crawls to documents")
    plan = add_command(commands, "plan", _plan, "what a crawl would cost: a sample of its input, measured")
    for command in (crawl, extract, plan):
        command.add_argument(
            "inputs",
            nargs="+",
            metavar="INPUT",
            help="WARC, WACZ, Parquet of url and html, folder, glob or URL of these; @FILE lists them",
        )
        command.add_argument("--root", default="", metavar="URL", help="where relative paths of an @FILE are")
    for command in (crawl, extract):
        command.add_argument("--limit", type=positive, metavar="N", help="the first N pages only")
        command.add_argument("--sample", type=float, metavar="SHARE", help="a share of the pages only, such as 0.01")
    select = add_command(commands, "select", _select, "which documents stay, and which media they name")
    fetch = add_command(commands, "fetch", _fetch, "the media's bytes, from the crawl itself, then from the web")
    fetch.add_argument("--retry", action="store_true", help="ask again for what failed for a reason that may pass")
    score = add_command(commands, "score", _score, "what models say of the media; [scores] names them")
    shard = add_command(commands, "shard", _shard, "documents and media to webdataset tars")
    pairs = add_command(commands, "pairs", _pairs, "captions tables to pairs of medium and text")
    pairs.add_argument(
        "inputs",
        nargs="+",
        metavar="TABLE",
        help="Parquet, CSV, TSV or JSONL (or .gz of these), file, glob or URL; @FILE lists them",
    )
    pairs.add_argument(
        "--media", default="", metavar="COLUMN", help="URLs or paths; default: url, image, image_url, file, path"
    )
    pairs.add_argument("--caption", default="", metavar="COLUMN", help="texts; default: caption, text, alt")
    pairs.add_argument("--kind", choices=("image", "video"), default="image", help="what the media are (image)")
    for command in (crawl, select, pairs):
        command.add_argument(
            "--against",
            action="append",
            default=[],
            metavar="DIR",
            help="a finished run whose pages, and copies of these, are not to come again; may be given more than once",
        )
    for command in (crawl, fetch, pairs):
        command.add_argument(
            "--media-folder",
            default="",
            metavar="FOLDER",
            help="what img2dataset has written: media that the crawl does not hold are taken from there before the web is asked",
        )
        command.add_argument(
            "--with",
            dest="downloader",
            choices=("m3w", "img2dataset"),
            default="m3w",
            help="who asks the web (m3w); img2dataset reads no robots.txt, keeps no pace of a host and asks private addresses, too",
        )
    for command in (crawl, extract, select, fetch, score, shard, pairs):
        _add_job_options(command)
    plan.add_argument("--workers", type=positive, default=os.cpu_count() or 1, metavar="N", help="default: the cores")
    plan.add_argument(
        "--sample",
        type=positive,
        default=4,
        metavar="N",
        help="slices to measure, 2 and more (4); one of 64 MiB takes a minute",
    )
    _add_config_options(plan)
    inspect = add_command(commands, "inspect", _inspect, "a document, from a shard, a run, a WARC or an HTML file")
    inspect.add_argument("path", metavar="PATH", help="a tar, a run's folder, a WARC, an HTML file")
    inspect.add_argument("--key", help="the sample with this key (or its first digits)")
    inspect.add_argument(
        "--url", help="the page with this URL; of an HTML file its own URL, to which others are relative"
    )
    inspect.add_argument("--number", "-n", type=positive, default=1, metavar="N", help="how many documents (default 1)")
    inspect.add_argument(
        "--nodes",
        type=positive,
        metavar="N",
        help="of each document N paragraphs and pictures, around the first picture",
    )
    inspect.add_argument("--dropped", action="store_true", help="what went, and why")
    inspect.add_argument("--json", action="store_true", help="for machines, a document a line")
    add_training(commands)
    stats = add_command(commands, "stats", _stats, "a run in numbers")
    stats.add_argument("dir", metavar="DIR")
    stats.add_argument("--json", action="store_true", help="the manifest")
    demo = add_command(commands, "demo", _demo, "the whole way on pages that come with m3w")
    demo.add_argument("--train", action="store_true", help="go on to a small model that captions; minutes on two cores")
    demo.add_argument("--out", metavar="DIR", help="default: m3w-demo, with --train m3w-demo-train")
    demo.add_argument("--workers", type=positive, default=os.cpu_count() or 1, metavar="N", help="default: the cores")
    takedown = add_command(commands, "takedown", _takedown, "pages and media out of a finished run, and never in again")
    takedown.add_argument("dir", metavar="DIR")
    takedown.add_argument("--urls", required=True, metavar="FILE", help="URLs, domains and sha256:..., one a line")
    takedown.add_argument(
        "--similar",
        type=int,
        default=-1,
        metavar="BITS",
        help="also pictures whose perceptual hash differs in at most BITS of 64 from one that goes",
    )
    add_engine_options(takedown)
    schema = add_command(commands, "schema", _schema, "writes the JSON Schemas of all forms")
    schema.add_argument("dir", metavar="DIR")
    return parser


def _add_job_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--out", required=True, metavar="DIR", help="the run's folder, on disk or in a store")
    _add_config_options(command)
    add_engine_options(command)


def _add_config_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--config", default="m3w", metavar="FILE", help="a TOML file, or a preset: m3w (default), obelics"
    )
    command.add_argument("--set", action="append", default=[], metavar="A.B=C", help="one value of the configuration")


def _crawl(options: argparse.Namespace) -> None:
    from jobs import crawl

    source = _source(options)
    _read_and_run(options, lambda job, inputs, limit: crawl.run(job, inputs, limit, source))
    _print_summary(options.out)


def _extract(options: argparse.Namespace) -> None:
    from jobs import extract

    _read_and_run(options, extract.run)


def _plan(options: argparse.Namespace) -> None:
    from jobs import plan
    from jobs.presets import read_config
    from pipeline.read.inputs import find_inputs

    inputs = find_inputs(options.inputs, root=options.root)
    plan.run(inputs, read_config(options.config, options.set), options.workers, options.sample)


def _select(options: argparse.Namespace) -> None:
    from jobs import selection

    _run_job(options, _engine(options), selection.run)


def _fetch(options: argparse.Namespace) -> None:
    from jobs import fetch

    source = _source(options)
    _run_job(options, _engine(options), lambda job: fetch.run(job, options.retry, source))


def _source(options: argparse.Namespace) -> "Source":
    """Where media come from that the crawl does not hold; looked at first, so that a wrong folder harms nothing."""
    from jobs import img2dataset
    from jobs.fetch import Source
    from pipeline.read.media_folder import find_shards

    by_img2dataset = options.downloader == "img2dataset"
    if by_img2dataset:
        img2dataset.check_installed()
    shards = find_shards(_absolute(options.media_folder), {}) if options.media_folder else []
    return Source(shards=shards, img2dataset=by_img2dataset)


def _score(options: argparse.Namespace) -> None:
    from jobs import score

    _run_job(options, _engine(options), score.command)


def _shard(options: argparse.Namespace) -> None:
    from jobs import shard

    _run_job(options, _engine(options), shard.run)
    _print_summary(options.out)


def _pairs(options: argparse.Namespace) -> None:
    """Looks into the tables first, so that a wrong one harms nothing."""
    from jobs import pairs
    from jobs.inputs import Digests
    from pipeline.read.tables import find_tables
    from pipeline.runfolder import RunFolder

    source, engine = _source(options), _engine(options)
    digests = Digests(RunFolder(_absolute(options.out)))
    tables = find_tables(options.inputs, media=options.media, caption=options.caption, digests=digests.known)

    def remember_and_run(job: "Job") -> None:
        digests.remember()
        pairs.run(job, tables, options.kind, source)

    _run_job(options, engine, remember_and_run, new=True)
    _print_summary(options.out)


def _inspect(options: argparse.Namespace) -> None:
    from jobs import show

    show.run(options)


def _stats(options: argparse.Namespace) -> None:
    from jobs import stats

    stats.run(options.dir, options.json)


def _takedown(options: argparse.Namespace) -> None:
    from jobs import takedown

    takedown.command(options.dir, options.urls, options.similar, _engine(options))


def _demo(options: argparse.Namespace) -> None:
    if options.train:
        from jobs.demo import training

        training.run(run_command, options.out or "m3w-demo-train", options.workers)
    else:
        from jobs import demo

        demo.run(run_command, options.out or "m3w-demo", options.workers)


def _schema(options: argparse.Namespace) -> None:
    from schemas.publish import publish

    publish(options.dir)


def _read_and_run(options: argparse.Namespace, run: "Callable[[Job, list[Input], int | None], None]") -> None:
    """Finds the inputs first, so that a wrong one harms nothing."""
    from jobs.inputs import Digests
    from pipeline.read.inputs import find_inputs
    from pipeline.runfolder import RunFolder

    engine = _engine(options)
    digests = Digests(RunFolder(_absolute(options.out)))
    inputs = find_inputs(options.inputs, root=options.root, digests=digests.known)

    def remember_and_run(job: "Job") -> None:
        digests.remember()
        run(job, inputs, options.limit)

    _run_job(options, engine, remember_and_run, new=True)


def _absolute(out: str) -> str:
    """An output folder on disk by its whole path, since workers may stand elsewhere."""
    return out if "://" in out else os.path.abspath(out)


def _run_job(options: argparse.Namespace, engine: "Engine", run: "Callable[[Job], None]", new: bool = False) -> None:
    """Checks the command, takes the output folder (which may be `new`), and runs."""
    from jobs.job import Job
    from jobs.presets import read_config
    from jobs.progress import Terminal
    from pipeline.config import dump_config
    from pipeline.lock import locked
    from pipeline.runfolder import RunFolder

    settings = list(options.set)
    if getattr(options, "sample", None) is not None:
        settings.append(f"extract.sample={options.sample}")
    if getattr(options, "against", []):
        settings.append(f"select.against={json.dumps(options.against)}")
    config = read_config(options.config, settings)
    options.out = _absolute(options.out)
    folder = RunFolder(options.out)
    if not new and not folder.is_run():
        raise OutputError(f"{options.out} is no output folder of m3w; run m3w extract or m3w crawl first")
    selects = hasattr(options, "against")
    if selects and config.select.against:  # here, as the lists below, so that a wrong one harms nothing
        from jobs.selection import runs_before

        runs_before(config.select.against, options.out)
    job = Job(folder, config, engine, Terminal())
    if selects:
        job.compile_lists()
    with locked(folder.store):
        folder.claim()
        job.join()
        folder.store.write("config.toml", dump_config(config).encode())
        run(job)


def _engine(options: argparse.Namespace) -> "Engine":
    """What runs the job. Asked for before anything is read or written: a cluster answers, or nothing begins."""
    from jobs.engine import Engine
    from jobs.flink import address, flink_options

    beam_options = options.beam_options
    if options.runner == "flink":
        beam_options = [*flink_options(options.endpoint, options.worker_pool, options.workers), *beam_options]
    out = options.dir if options.command == "takedown" else options.out
    flink = options.flink and address(options.flink, "--flink")
    engine = Engine(options.workers, beam_options, [out, *getattr(options, "inputs", ())], flink)
    engine.check()
    return engine


def _print_summary(out: str) -> None:
    from rich.console import Console

    from jobs.summary import print_summary
    from pipeline.report import read_manifest
    from pipeline.runfolder import RunFolder

    print_summary(read_manifest(RunFolder(out)), Console())
