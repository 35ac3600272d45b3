"""A pool of Python workers beside one task manager: starts a worker process where that asks for one, ends it when it is told to.

Beam has a pool of its own, which listens on all interfaces, takes the first `python` of the PATH and never reads what a worker prints. Here a
worker has an empty folder for temporary files of its own, as if it were alone on its machine.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple

import grpc

TRIES: Final = 3  # ours; what of a job a task manager has begun when a worker cannot be had, Beam never lets go of
# glibc gives each thread an arena, and what is freed in one serves no other: at the end of a select of 200,000 documents a worker held 425 MB, so 308.
_ENVIRONMENT: Final = {"MALLOC_ARENA_MAX": "1"}
_WORK = """
import os, sys, threading
threading.Thread(target=lambda: os._exit(len(sys.stdin.read()) or 1), daemon=True).start()  # it ends with its pool
from apache_beam.runners.worker.sdk_worker import SdkHarness
endpoint, worker_id, told = sys.argv[1:]
worker = SdkHarness(endpoint, worker_id=worker_id)  # which has reached its task manager
os.write(int(told), b"1")
worker.run()
"""


class WorkerPool:
    """Answers the two requests of Beam's external environment, whose protocol `beam` is."""

    def __init__(self, beam: Any) -> None:
        self._beam = beam
        self._workers: dict[str, _Worker] = {}

    def StartWorker(self, request: Any, context: Any) -> object:  # noqa: N802 - of the protocol
        """Starts a worker, and answers when it has reached its task manager, which would wait without end for one that ends before.

        One of its name that is there already is of a task manager that has died.
        """
        for _ in range(TRIES):
            self._end(request.worker_id)
            worker = self._start(request)
            if worker.is_alive() or not context.is_active():
                break
        if worker.is_alive() and context.is_active():
            return self._beam.StartWorkerResponse()
        worker.end()  # the task manager is gone, or has given up
        error = (
            f"Python workers end with exit code {worker.process.returncode} before they have reached their task manager"
        )
        return self._beam.StartWorkerResponse(error=error)

    def StopWorker(self, request: Any, _: object) -> object:  # noqa: N802 - of the protocol
        """Kills a worker: whoever stops it has no more use for what it does."""
        self._end(request.worker_id)
        return self._beam.StopWorkerResponse()

    def _start(self, request: Any) -> "_Worker":
        """Returns when the worker has reached its task manager, or has ended."""
        own = tempfile.mkdtemp(prefix="worker-")
        read, told = os.pipe()
        with open(read, "rb") as answer:
            process = subprocess.Popen(
                [sys.executable, "-c", _WORK, request.control_endpoint.url, request.worker_id, str(told)],
                env=_ENVIRONMENT | os.environ | {"TMPDIR": own},
                stdin=subprocess.PIPE,
                pass_fds=[told],
            )
            os.close(told)
            worker = self._workers[request.worker_id] = _Worker(process, own)
            if not answer.read(1):
                process.wait()
        return worker

    def _end(self, worker_id: str) -> None:
        if worker := self._workers.pop(worker_id, None):
            worker.end()


class _Worker(NamedTuple):
    process: "subprocess.Popen[bytes]"
    own: str  # its folder

    def is_alive(self) -> bool:
        return self.process.poll() is None

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()
        shutil.rmtree(self.own, ignore_errors=True)


def serve(address: str) -> None:
    """Serves until the process ends."""
    from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc

    server = grpc.server(ThreadPoolExecutor())
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(WorkerPool(beam_fn_api_pb2), server)
    server.add_insecure_port(address)
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    serve(sys.argv[1])
