"""What the commands of all parts have in common on the command line."""

import argparse
from collections.abc import Callable
from typing import Any


def add_command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    run: Callable[[argparse.Namespace], None],
    text: str,
) -> argparse.ArgumentParser:
    """A command that is listed by its `text`, and carried out by `run`."""
    command = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    command.set_defaults(run=run)
    return command


class PrintSoftware(argparse.Action):
    """Prints what a worker has to have as well, a line each, and ends the command: compare it with `diff`; the first line names an image."""

    def __init__(self, option_strings: list[str], dest: str, **others: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, **others)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        """Looks the versions up here, since most commands do not need them."""
        from pipeline.software import software

        print("\n".join(f"{name} {version}" for name, version in software().items()))
        parser.exit()


def positive(text: str) -> int:
    """A number from 1 on."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {number}")
    return number


def add_engine_options(command: argparse.ArgumentParser) -> None:
    """Where the work is done."""
    command.add_argument(
        "--workers", type=positive, metavar="N", help="default: the cores; on a cluster the slots that are to be taken"
    )
    command.add_argument("--runner", choices=("local", "flink"), default="local", help="who does the work (local)")
    command.add_argument("--endpoint", default="", metavar="HOST:PORT", help="of --runner flink: Beam's job server")
    command.add_argument(
        "--worker-pool",
        default="localhost:50000",
        metavar="HOST:PORT",
        help="of --runner flink: where a task manager finds its Python workers (localhost:50000)",
    )
    command.add_argument(
        "--flink",
        default="",
        metavar="HOST:PORT",
        help="Flink's REST interface, where it can be asked how a job is: restarting, waiting for slots, tasks done",
    )
