"""What the cluster's processes are told: ports, Flink's configuration, command lines, environment. Text in, text out."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

HOST: Final = "127.0.0.1"
S3_SETTINGS: Final = {  # the server takes any key
    "AWS_ACCESS_KEY_ID": "m3w",
    "AWS_SECRET_ACCESS_KEY": "m3w",
    "AWS_DEFAULT_REGION": "us-east-1",
}
_OPENED: Final = (
    "java.util",
    "java.lang",
    "java.time",
    "java.nio",
    "sun.nio.ch",
)  # what Flink reaches into by reflection
_ADD_OPENS: Final = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in _OPENED]

LOG4J: Final = """\
rootLogger.level = INFO
rootLogger.appenderRef.console.ref = Console
appender.console.name = Console
appender.console.type = CONSOLE
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{HH:mm:ss,SSS} %-5p %c{1} - %m%n
"""


class Ports(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A free port for each thing that listens."""

    job: int
    artifact: int
    expansion: int
    rest: int
    rpc: int
    blob: int
    workers: int
    s3: int


def flink_config(folder: Path, ports: Ports, task_managers: int) -> str:
    """Flink's config.yaml: a task manager is one slot, so a worker is a core; what is lost is tried again after 3, 6, 12 and 24 s.

    A task manager that was killed must be known to be dead before the tries are used up (two heartbeats that do not reach it say so), a pool started again.
    With a fixed delay each task that fails is a try, and two or three use them up.
    """
    settings = {
        "jobmanager.rpc.address": HOST,
        "jobmanager.bind-host": HOST,
        "jobmanager.rpc.port": ports.rpc,
        "blob.server.port": ports.blob,
        "rest.address": HOST,
        "rest.bind-address": HOST,
        "rest.port": ports.rest,
        "taskmanager.host": HOST,
        "taskmanager.bind-host": HOST,
        "taskmanager.numberOfTaskSlots": 1,
        "parallelism.default": task_managers,
        "jobmanager.memory.process.size": "1200m",
        "taskmanager.memory.process.size": "1600m",  # without the Python worker and its child
        "taskmanager.memory.network.min": "128m",  # select is a job of some hundred exchanges
        "heartbeat.interval": 1000,
        "heartbeat.timeout": 15000,
        "restart-strategy.type": "exponential-delay",
        "restart-strategy.exponential-delay.initial-backoff": "3 s",
        "restart-strategy.exponential-delay.backoff-multiplier": 2.0,
        "restart-strategy.exponential-delay.attempts-before-reset-backoff": 4,
        "classloader.resolve-order": "parent-first",  # Beam's classes are loaded once, not once a job
        "io.tmp.dirs": folder / "tmp",
        "web.tmpdir": folder / "tmp",
    }
    return "".join(f"{key}: {value}\n" for key, value in settings.items())


def node_address(number: int) -> str:
    """The loopback address of the pool that stands for the one on a task manager's machine."""
    return f"127.0.0.{number}"


def hosts(number: int, own_name: str) -> str:
    """What a task manager takes for /etc/hosts: as on machines of their own, each finds its workers on its own localhost."""
    return f"{node_address(number)} localhost {own_name}\n"


def environment(ports: Ports) -> dict[str, str]:
    """What workers, and who submits, need to reach the store."""
    return {"AWS_ENDPOINT_URL": f"http://{HOST}:{ports.s3}", **S3_SETTINGS}


def memory_command(folder: Path) -> list[str]:
    """Flink's own calculation of a task manager's flags, which must agree with each other."""
    path = f"{folder}/flink/pyflink/bin/bash-java-utils.jar:{_flink_jars(folder)}"
    utility = "org.apache.flink.runtime.util.bash.BashJavaUtils"
    return ["java", "-cp", path, utility, "GET_TM_RESOURCE_PARAMS", "--configDir", f"{folder}/conf"]


def task_manager_flags(printed: str) -> tuple[list[str], list[str]]:
    """The flags of Java and those of Flink, out of what `memory_command` has printed."""
    mark = "BASH_JAVA_UTILS_EXEC_RESULT:"
    java, flink = (line.removeprefix(mark).split() for line in printed.splitlines() if line.startswith(mark))
    return java, flink


def commands(
    folder: Path, ports: Ports, task_managers: int, flags: tuple[Sequence[str], Sequence[str]]
) -> dict[str, list[str]]:
    """The command line of each process by its name, in the order in which they start."""
    java = ["java", *_ADD_OPENS, f"-Dlog4j.configurationFile=file:{folder}/conf/log4j.properties"]
    runtime, configuration = "org.apache.flink.runtime", ["--configDir", f"{folder}/conf"]
    job_manager = f"{runtime}.entrypoint.StandaloneSessionClusterEntrypoint"
    job_server = [
        *("java", "-Xmx512m", *_ADD_OPENS, "-cp", f"{folder}/job-server/*"),
        str(Path(__file__).with_name("JobServer.java")),
        f"--flink-master={HOST}:{ports.rest}",
        "--job-host=localhost",
        f"--job-port={ports.job}",
        f"--artifact-port={ports.artifact}",
        f"--expansion-port={ports.expansion}",
        f"--artifacts-dir={folder}/tmp/artifacts",
    ]
    nodes: dict[str, list[str]] = {}
    for number in range(1, task_managers + 1):
        address = f"{node_address(number)}:{ports.workers}"
        nodes[f"workers-{number}"] = [sys.executable, "-m", "jobs.cluster.worker_pool", address]
        nodes[f"task-manager-{number}"] = [
            *(*java, *flags[0], f"-Djdk.net.hosts.file={folder}/conf/hosts-{number}", "-cp", _flink_jars(folder)),
            *(f"{runtime}.taskexecutor.TaskManagerRunner", *configuration, *flags[1]),
        ]
    return {
        "s3": [sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(ports.s3)],
        "job-manager": [*java, "-Xmx768m", "-cp", _flink_jars(folder), job_manager, *configuration],
        **nodes,
        "job-server": job_server,
    }


def _flink_jars(folder: Path) -> str:
    """Flink's jars, then those of Beam's runner: so its classes, and the workers that they keep, outlast a job's tasks."""
    return f"{folder}/flink/pyflink/lib/*:{folder}/job-server/*"
