"""python -m jobs.cluster start|stop|status [FOLDER]."""

import argparse
import sys
from pathlib import Path

from jobs.cluster import state
from jobs.cluster.configuration import HOST
from jobs.cluster.start import overview, start, stop
from schemas.errors import SurroundingsError


def main() -> int:
    """Carries out one command; 0 done, 3 the surroundings are at fault (for status: nothing, or not all of it, runs)."""
    parser = argparse.ArgumentParser(
        prog="python -m jobs.cluster", description="A development cluster on the loopback."
    )
    parser.add_argument("command", choices=("start", "stop", "status"))
    parser.add_argument("folder", nargs="?", type=Path, default=Path(".cluster"), help="default: .cluster")
    options = parser.parse_args()
    folder = options.folder.absolute()
    try:
        if options.command == "start":
            start(folder)
        elif options.command == "stop":
            print("stopped" if stop(folder) else f"no cluster of {folder} was started")
            return 0
        return _show(folder)
    except SurroundingsError as error:
        print(f"cluster: {error}", file=sys.stderr)
        return error.exit_code


def _show(folder: Path) -> int:
    cluster = state.read(folder)
    if cluster is None:
        print(f"no cluster of {folder} was started")
        return SurroundingsError.exit_code
    dead, ports = cluster.missing(), cluster.ports
    for name, process in cluster.processes.items():
        print(f"{name:16} {'has died' if name in dead else f'process {process.pid}'}")
    says = overview(cluster)
    print(
        f"A development cluster: {says.get('taskmanagers', 0)} workers, {says.get('jobs-running', 0)} jobs running\n"
        f"Flink   http://{HOST}:{ports.rest}\n"
        f"store   http://{HOST}:{ports.s3} (in memory; set -a; . {folder}/env)\n"
        f"m3w     --runner flink --endpoint {HOST}:{ports.job} --workers 2 --worker-pool localhost:{ports.workers}"
    )
    return SurroundingsError.exit_code if dead else 0


if __name__ == "__main__":
    sys.exit(main())
