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
from typing import Any

import grpc

_WORK = """
import sys
from apache_beam.runners.worker.sdk_worker import SdkHarness
SdkHarness(sys.argv[1], worker_id=sys.argv[2]).run()
"""


class WorkerPool:
    """Answers the two requests of Beam's external environment, whose protocol `beam` is."""

    def __init__(self, beam: Any) -> None:
        self._beam = beam
        self._workers: dict[str, tuple[subprocess.Popen[bytes], str]] = {}

    def StartWorker(self, request: Any, _: object) -> object:  # noqa: N802 - of the protocol
        """Starts a worker. One of that name that is there already is of a task manager that has died."""
        self._end(request.worker_id)
        own = tempfile.mkdtemp(prefix="worker-")
        process = subprocess.Popen(
            [sys.executable, "-c", _WORK, request.control_endpoint.url, request.worker_id],
            env=os.environ | {"TMPDIR": own},
            stdin=subprocess.DEVNULL,
        )
        self._workers[request.worker_id] = process, own
        return self._beam.StartWorkerResponse()

    def StopWorker(self, request: Any, _: object) -> object:  # noqa: N802 - of the protocol
        """Kills a worker: whoever stops it has no more use for what it does."""
        self._end(request.worker_id)
        return self._beam.StopWorkerResponse()

    def _end(self, worker_id: str) -> None:
        if worker_id in self._workers:
            process, own = self._workers.pop(worker_id)
            process.kill()
            process.wait()
            shutil.rmtree(own, ignore_errors=True)


def serve(address: str) -> None:
    """Serves until the process ends."""
    from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc

    server = grpc.server(ThreadPoolExecutor(max_workers=1))  # one request at a time
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(WorkerPool(beam_fn_api_pb2), server)
    server.add_insecure_port(address)
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    serve(sys.argv[1])
