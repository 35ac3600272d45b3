"""img2dataset as the downloader: a process of its own, which asks a round's URLs and fills a folder.

It asks in its own manner. Of our configuration it gets what it has a place for: connections, timeout, retries, and who asks. It does not read robots.txt,
knows no pace and no number of requests of a host, and asks private addresses like any other; bodies have no limit. Responses that opt out by
X-Robots-Tag (noai, noimageai, noindex, noimageindex) it refuses. Pictures stay as they came: no resizing, no encoding.
"""

import importlib
import importlib.util
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any

from pipeline.web.client import user_agent
from pipeline.web.config import FetchConfig
from schemas.errors import SurroundingsError

_RUN = "from jobs.img2dataset import _run; _run()"


def check_installed() -> None:
    """Makes sure that there is an img2dataset.

    Raises:
        SurroundingsError: there is none.
    """
    if importlib.util.find_spec("img2dataset") is None:
        raise SurroundingsError("--with img2dataset needs the package img2dataset: pip install 'm3w[img2dataset]'")


def options(config: FetchConfig, processes: int) -> dict[str, Any]:
    """Our configuration in img2dataset's words.

    Raises:
        ConfigError: there is no contact.
    """
    return {
        "input_format": "parquet",
        "output_format": "webdataset",
        "resize_mode": "no",
        "disable_all_reencoding": True,
        "extract_exif": False,
        "compute_hash": "sha256",
        "processes_count": processes,
        "thread_count": max(1, config.connections // processes),
        "timeout": math.ceil(max(config.connect_timeout_s, config.read_timeout_s)),
        "retries": config.retries,
        "user_agent_token": user_agent(config),
    }


def download(url_list: str, output_folder: str, config: FetchConfig, processes: int) -> None:
    """Asks all URLs of a folder of Parquet files; goes on with what an earlier call has left unfinished.

    Raises:
        ConfigError: there is no contact.
        SurroundingsError: img2dataset failed; the message ends with its last words.
    """
    given = options(config, processes) | {"url_list": url_list, "output_folder": output_folder}
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", _RUN, json.dumps(given)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            process_group=0,  # it and its own processes end together
        )
        try:
            code = process.wait()
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        if code:
            said.seek(0)
            words = said.read().decode(errors="replace").strip().splitlines()
            raise SurroundingsError(f"img2dataset ended with {code}: {' / '.join(words[-3:])}")


def _run() -> None:
    """The process: img2dataset with the options of the command line, as long as the process that started it is there."""
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    importlib.import_module("img2dataset").download(**json.loads(sys.argv[1]))


def _end_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os.killpg(0, signal.SIGKILL)
