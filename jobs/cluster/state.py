"""What a cluster knows of itself: its ports and which processes are its own.

A process id comes again one day, so a process is known by its id and the moment of its start; nothing else is ever ended.
"""

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Final

import msgspec

from jobs.cluster.configuration import Ports
from schemas.errors import SurroundingsError

STATE: Final = "state.json"
PATIENCE_S: Final = 10.0  # ours: what does not end in that time when it is asked to is killed


class Process(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A process of ours: its id, and when it was started (as the kernel tells it; compared, never read)."""

    pid: int
    born: str

    def is_alive(self) -> bool:
        """Whether it still runs, and is no other of the same id."""
        return born(self.pid) == self.born


class Cluster(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A cluster's ports and processes by name, as `state.json` holds them."""

    ports: Ports
    task_managers: int
    processes: dict[str, Process] = {}

    def missing(self) -> list[str]:
        """The names of the processes that have died."""
        return [name for name, process in self.processes.items() if not process.is_alive()]


def read(folder: Path) -> Cluster | None:
    """The cluster of a folder, or None where none was started.

    Raises:
        SurroundingsError: the state cannot be read.
    """
    try:
        return msgspec.json.decode((folder / STATE).read_bytes(), type=Cluster)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise SurroundingsError(f"{folder / STATE} is not the state of a cluster ({error})") from error


def write(folder: Path, cluster: Cluster) -> None:
    """Writes the state, whole."""
    spooled = folder / f"{STATE}.new"
    spooled.write_bytes(msgspec.json.format(msgspec.json.encode(cluster)))
    spooled.replace(folder / STATE)


def born(pid: int) -> str:
    """When a process was started; "" for one that is not there, or has ended and waits for its parent to notice."""
    stat = Path(f"/proc/{pid}/stat")
    if stat.parent.parent.joinpath("self").exists():
        try:
            fields = stat.read_text().rpartition(")")[2].split()  # after the name, which may hold anything
        except (FileNotFoundError, ProcessLookupError):
            return ""
        return "" if fields[0] == "Z" else fields[19]
    told = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    stat_and_start = told.stdout.split(maxsplit=1)
    return "" if not stat_and_start or stat_and_start[0].startswith("Z") else stat_and_start[1].strip()


def end(processes: list[Process]) -> None:
    """Asks processes of ours, each the leader of a session, to end with all their children; kills those that do not."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for process in processes:
            if process.is_alive():
                os.killpg(process.pid, number)
        until = time.monotonic() + PATIENCE_S
        while any(process.is_alive() for process in processes) and time.monotonic() < until:
            time.sleep(0.05)
