"""What Flink itself says of our jobs, by its REST interface: `--flink HOST:PORT`, which may be left out.

Beam's job server calls a job RUNNING from the moment that it has it: while it waits for slots, while Flink starts it for the fifth time, and for ever if
it failed when who had sent it was gone. Started anew, it knows no job at all. Flink knows.
"""

import json
import re
import urllib.request
from contextlib import suppress
from typing import Any, Final

import msgspec

from jobs.flink import ANSWER_S, blamed, job_name
from schemas.errors import SurroundingsError

_ENDED: Final = frozenset({"FINISHED", "FAILED", "CANCELED"})
_REASON_CHARS: Final = 160


class FlinkJob(msgspec.Struct, frozen=True, kw_only=True, rename={"id": "jid", "start": "start-time"}):
    """A job of Flink's overview: `start` in ms since the epoch, `tasks` counts them by state, and all as `total`."""

    id: str
    name: str
    state: str
    start: int
    tasks: dict[str, int]

    @property
    def has_ended(self) -> bool:
        """Well or not."""
        return self.state in _ENDED

    @property
    def waits(self) -> bool:
        """Whether it has no slot to work in."""
        at_work = sum(self.tasks.get(state, 0) for state in ("deploying", "initializing", "running"))
        return self.state == "RUNNING" and self.tasks.get("scheduled", 0) > 0 and not at_work


class _Overview(msgspec.Struct):
    jobs: list[FlinkJob]


class Flink:
    """Flink's REST interface at HOST:PORT. `check` and `running` raise SurroundingsError where it does not answer."""

    def __init__(self, address: str) -> None:
        self._address = address

    def check(self) -> None:
        """Asks whether it is there at all."""
        self._jobs()

    def running(self, run_url: str) -> list[str]:
        """The stages of a run's folder whose jobs have not ended."""
        prefix = job_name(run_url, "")
        return [
            job.name.removeprefix(prefix) for job in self._jobs() if job.name.startswith(prefix) and not job.has_ended
        ]

    def how_to_end(self, name: str) -> str:
        """The command of Flink's that ends the job of a name, "" where there is none."""
        with suppress(SurroundingsError):
            if job := self._job(name):
                return f"flink cancel -m {self._address} {job.id}"
        return ""

    def says(self, name: str) -> str:
        """How the latest job of a name is, in a few words."""
        try:
            job = self._job(name)
            failures = self._failures(job.id) if job else []
        except SurroundingsError:
            return "Flink does not answer"
        if job is None:
            return "not in Flink yet"
        if job.waits:
            words = "waits for slots"
        elif job.state == "RUNNING":
            words = f"{job.tasks.get('finished', 0)} of {job.tasks.get('total', 0)} tasks done"
        else:
            words = job.state.lower()
        return f"Flink: {words}{f', failures: {len(failures)}, of late: {failures[0]}' if failures else ''}"

    def _job(self, name: str) -> FlinkJob | None:
        """The latest job of a name, if it has not ended."""
        found = max((job for job in self._jobs() if job.name == name), key=lambda job: job.start, default=None)
        return None if found is None or found.has_ended else found

    def _failures(self, job_id: str) -> list[str]:
        """Why tasks of a job failed, the latest first; Flink keeps some (16)."""
        entries = self._get(f"/jobs/{job_id}/exceptions").get("exceptionHistory", {}).get("entries", [])
        texts = [(entry.get("stacktrace") or "", entry.get("exceptionName") or "") for entry in entries]
        reasons = [blamed(trace)[1] or name.rpartition(".")[2] for trace, name in texts]
        return [re.sub(r"\s+", " ", reason)[:_REASON_CHARS] for reason in reasons]

    def _jobs(self) -> list[FlinkJob]:
        try:
            return msgspec.convert(self._get("/jobs/overview"), type=_Overview).jobs
        except msgspec.ValidationError as error:
            raise self._no_flink(str(error)) from error

    def _get(self, path: str) -> Any:
        try:
            with urllib.request.urlopen(f"http://{self._address}{path}", timeout=ANSWER_S) as answer:
                return json.load(answer)
        except (OSError, ValueError) as error:
            raise self._no_flink(str(error)) from error

    def _no_flink(self, reason: str) -> SurroundingsError:
        return SurroundingsError(
            f"Flink does not answer at {self._address} ({reason[:200]}); is it the port of its REST interface?"
        )
