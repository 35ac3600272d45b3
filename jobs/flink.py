"""--runner flink: a Flink cluster by the address of Beam's job server, and what that server knows of our jobs.

A job is named for its run's folder and its stage, so that who sends a command again finds what still runs of it: a submitter that was cut off takes
nothing of the cluster with it.
"""

import re
from collections.abc import Callable
from typing import Any, Final

from pipeline.runfolder import digest
from schemas.errors import SurroundingsError, UsageError

# Ours: so long a worker waits for the next step of its job; at 0 each step starts one anew. It must be less than Flink waits before it restarts a job: one
# that was killed is kept as well, and a restart that finds it fails at once.
KEPT_MS: Final = 1_000
ANSWER_S: Final = 15.0  # ours: the server holds its answers in memory
_BLAMED: Final = re.compile(r"\[m3w (\w+)\] (.*?) \[/m3w\]", re.DOTALL)  # pipeline/transforms/spread.py


def flink_options(endpoint: str, worker_pool: str, workers: int | None) -> list[str]:
    """Beam's options for the job server at `endpoint`, with `workers` slots, whose task managers find Python workers at `worker_pool`.

    Raises:
        UsageError: something is missing, or no address.
    """
    if workers is None:
        raise UsageError("--runner flink needs --workers N, how many slots of the cluster the job is to take")
    return [
        "--runner=PortableRunner",
        f"--job_endpoint={address(endpoint, '--endpoint')}",
        "--environment_type=EXTERNAL",
        f"--environment_config={address(worker_pool, '--worker-pool')}",
        f"--parallelism={workers}",
        f"--environment_cache_millis={KEPT_MS}",
    ]


def address(text: str, option: str) -> str:
    """HOST:PORT as it is.

    Raises:
        UsageError: it is something else.
    """
    if not re.fullmatch(r"[\w.-]+:\d{1,5}|\[[0-9a-fA-F:]+\]:\d{1,5}", text):
        raise UsageError(f"{option} is HOST:PORT{f', not {text!r}' if text else ''}")
    return text


def job_name(run_url: str, stage: str) -> str:
    """The name of a stage's job; with no stage, how the names of all jobs of a run's folder begin."""
    return f"m3w-{digest(run_url.rstrip('/'))[:12]}-{stage}"


def blamed(text: str) -> tuple[str, str]:
    """The class and the message of an error of ours in what a runner made of it, the first if there are more: later ones may be its consequences. Else two ""."""
    found = _BLAMED.search(text)
    return (found[1], found[2]) if found else ("", "")


class JobServer:
    """Beam's job server at an address.

    All methods raise SurroundingsError where it does not answer.
    """

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint

    def check(self) -> None:
        """Asks whether it is there at all."""
        self.running("")

    def running(self, run_url: str) -> list[str]:
        """The stages of a run's folder whose jobs have not ended."""
        from apache_beam.portability.api import beam_job_api_pb2 as protocol

        prefix = job_name(run_url, "")
        jobs = self._ask(lambda stub: stub.GetJobs(protocol.GetJobsRequest(), timeout=ANSWER_S)).job_info
        return [
            job.job_name.removeprefix(prefix)
            for job in jobs
            if job.job_name.startswith(prefix) and not _has_ended(job.state)
        ]

    def _ask(self, question: Callable[[Any], Any]) -> Any:
        import grpc
        from apache_beam.portability.api import beam_job_api_pb2_grpc

        with grpc.insecure_channel(self._endpoint) as channel:
            try:
                return question(beam_job_api_pb2_grpc.JobServiceStub(channel))
            except grpc.RpcError as error:
                reason = f"{error.code().name}: {error.details()}"
                raise SurroundingsError(
                    f"no job server of Beam's answers at {self._endpoint} ({reason[:200]}); is it the server's job port, and does it run?"
                ) from error


def _has_ended(state: int) -> bool:
    from apache_beam.portability.api import beam_job_api_pb2 as protocol

    states = protocol.JobState
    return state in (states.DONE, states.FAILED, states.CANCELLED, states.DRAINED, states.UPDATED)
