"""Starts, ends and looks at the cluster of a folder."""

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from jobs.cluster import state
from jobs.cluster.configuration import (
    HOST,
    LOG4J,
    Ports,
    commands,
    environment,
    flink_config,
    hosts,
    memory_command,
    node_address,
    task_manager_flags,
)
from jobs.cluster.state import Cluster, Process
from schemas.errors import SurroundingsError

READY_S: Final = 90.0  # ours: Flink is there after some ten seconds


def start(folder: Path, task_managers: int = 2) -> Cluster:
    """Starts what does not run of a cluster with so many workers, and returns when all of it answers.

    Raises:
        SurroundingsError: Java or the jars are not there, or a process ends or stays silent; what was started is ended again.
    """
    _check_software(folder)
    cluster = state.read(folder) or Cluster(ports=_free_ports(), task_managers=task_managers)
    for name in ("conf", "logs", "tmp"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "conf/config.yaml").write_text(flink_config(folder, cluster.ports, cluster.task_managers))
    (folder / "conf/log4j.properties").write_text(LOG4J)
    (folder / "env").write_text("".join(f"{key}={value}\n" for key, value in environment(cluster.ports).items()))
    for number in range(1, cluster.task_managers + 1):
        (folder / f"conf/hosts-{number}").write_text(hosts(number, socket.gethostname()))
    for name, command in commands(folder, cluster.ports, cluster.task_managers, _flags(folder)).items():
        if name not in cluster.processes or not cluster.processes[name].is_alive():
            cluster.processes[name] = _spawn(folder, name, command, environment(cluster.ports))
            state.write(folder, cluster)
    try:
        _wait(folder, cluster)
    except BaseException:
        stop(folder)
        raise
    return cluster


def stop(folder: Path) -> bool:
    """Ends the cluster of a folder, and nothing else; whether there was one. What its store held is gone."""
    cluster = state.read(folder)
    if cluster is None:
        return False
    state.end(list(cluster.processes.values()))
    (folder / state.STATE).unlink()
    shutil.rmtree(folder / "tmp", ignore_errors=True)
    return True


def overview(cluster: Cluster) -> dict[str, int]:
    """What Flink says of itself: task managers, slots, jobs; nothing where it does not answer."""
    try:
        with urllib.request.urlopen(f"http://{HOST}:{cluster.ports.rest}/overview", timeout=5) as answer:
            return {key: value for key, value in json.load(answer).items() if isinstance(value, int)}
    except (OSError, ValueError):
        return {}


def _check_software(folder: Path) -> None:
    if not shutil.which("java"):
        raise SurroundingsError("the cluster needs Java 17 (java is not on the PATH)")
    modules = subprocess.run(["java", "--list-modules"], capture_output=True, text=True, check=False).stdout
    if "jdk.compiler@" not in modules:
        raise SurroundingsError("the cluster needs the JDK of Java 17: this java comes without its compiler")
    for jars in ("flink/pyflink/lib", "job-server"):
        if not list((folder / jars).glob("*.jar")):
            raise SurroundingsError(f"{folder / jars} holds no jars; make cluster gets them")


def _flags(folder: Path) -> tuple[list[str], list[str]]:
    told = subprocess.run(memory_command(folder), capture_output=True, text=True, check=False)
    if told.returncode:
        last = (told.stderr or told.stdout).strip().splitlines()[-1:]
        raise SurroundingsError(f"Flink cannot be started ({''.join(last)}); is java Java 17?")
    return task_manager_flags(told.stdout)


def _free_ports() -> Ports:
    """All at once, so that none is given twice."""
    names = msgspec.structs.fields(Ports)
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in names]
        for one in sockets:
            one.bind((HOST, 0))
        return Ports(**{field.name: one.getsockname()[1] for field, one in zip(names, sockets, strict=True)})


def _spawn(folder: Path, name: str, command: list[str], settings: dict[str, str]) -> Process:
    own = folder / "tmp" / name  # nothing may rely on a folder that two of them share
    own.mkdir(exist_ok=True)
    with (folder / f"logs/{name}.log").open("ab") as log:
        process = subprocess.Popen(
            command,
            env=os.environ | settings | {"TMPDIR": str(own)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # it outlives this command, and Ctrl-C is not for it
        )
    return Process(pid=process.pid, born=state.born(process.pid))


def _wait(folder: Path, cluster: Cluster) -> None:
    ports, until = cluster.ports, time.monotonic() + READY_S
    ready: dict[str, Callable[[], bool]] = {
        "s3": lambda: listens(HOST, ports.s3),
        "job-manager": lambda: bool(overview(cluster)),
        "task-manager-1": lambda: overview(cluster).get("taskmanagers", 0) >= cluster.task_managers,
        "job-server": lambda: listens(HOST, ports.job),
    }
    for number in range(1, cluster.task_managers + 1):
        ready[f"workers-{number}"] = partial(listens, node_address(number), ports.workers)
    for name, is_ready in ready.items():
        while not is_ready():
            if dead := cluster.missing():
                raise SurroundingsError(f"{dead[0]} has ended; {folder}/logs/{dead[0]}.log says why")
            if time.monotonic() > until:
                raise SurroundingsError(f"{name} does not answer after {READY_S:.0f} s; see {folder}/logs/{name}.log")
            time.sleep(0.2)


def listens(address: str, port: int) -> bool:
    """Whether something takes connections there."""
    with suppress(OSError), socket.create_connection((address, port), timeout=2):
        return True
    return False
