"""Progress: what a running stage has done, read from its commit records.

Records are the only thing that workers on any engine share with us, and they are exact: what is shown is what a rerun would find.
"""

import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from pipeline.runfolder import RunFolder
from schemas.errors import M3wError

POLL_S = 0.5
POLL_STORE_S = 5.0  # a listing is a request, and costs
LINE_EVERY_S = 10.0  # where there is no terminal: a line now and then


class Progress:
    """How a job tells what it does: this one shows nothing."""

    def say(self, line: str) -> None:
        """A line of news."""

    @contextmanager
    def watch(self, folder: RunFolder, stage: str, parts: set[str]) -> Iterator[None]:
        """Shows a stage's progress while the block runs; `parts` are all that it will have (none: not known before)."""
        yield


class Terminal(Progress):
    """One line on standard error that is rewritten, or, where that is no terminal, a new one now and then."""

    def __init__(self) -> None:
        self._out = sys.stderr  # an engine may redirect it while it runs
        self._live = self._out.isatty()

    def say(self, line: str) -> None:
        """A line on standard error."""
        print(line, file=self._out)

    @contextmanager
    def watch(self, folder: RunFolder, stage: str, parts: set[str]) -> Iterator[None]:
        """Polls the stage's records until the block ends."""
        done = threading.Event()
        watcher = _Watcher(folder, stage, parts)
        thread = threading.Thread(target=self._poll, args=(watcher, done), daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
        self._show(watcher, last=True)

    def _poll(self, watcher: "_Watcher", done: threading.Event) -> None:
        shown = time.monotonic()
        poll_s = POLL_S if watcher.is_local else POLL_STORE_S
        while not done.wait(poll_s):
            if self._live or time.monotonic() - shown >= LINE_EVERY_S:
                with suppress(M3wError):  # a record that cannot be read now is read at the next turn
                    self._show(watcher)
                shown = time.monotonic()

    def _show(self, watcher: "_Watcher", last: bool = False) -> None:
        line = watcher.line()
        if self._live:
            print(f"\r\x1b[2K{line}", end="\n" if last else "", file=self._out, flush=True)
        else:
            print(line, file=self._out)


class _Watcher:
    """The counts of a stage's parts as they are committed."""

    def __init__(self, folder: RunFolder, stage: str, parts: set[str]) -> None:
        self._folder, self._stage, self._parts = folder, stage, parts
        self._before = folder.committed(stage)
        self.is_local = folder.store.is_local
        self._counts: Counter[str] = Counter()
        self._seen: set[str] = set()
        self._start = time.monotonic()

    def line(self) -> str:
        new = self._folder.committed(self._stage) - self._before - self._seen
        wanted = sorted(new & self._parts if self._parts else new)
        for commit in self._folder.commits_of(self._stage, wanted):
            self._counts.update(commit.counts)
            self._seen.add(commit.part)
        seconds = time.monotonic() - self._start
        of = f"/{len(self._parts - self._before)}" if self._parts else ""
        return f"{self._stage}: {len(self._seen)}{of} parts, {work_done(self._stage, self._counts, seconds)}, {seconds:.0f} s"


def work_done(stage: str, counts: Mapping[str, int], seconds: float | None = None) -> str:
    """What a stage counts: how many, how many kept and dropped, and, where it is known in what time, how fast."""
    if stage == "score":
        scored = f"{counts.get('scored', 0):,} pictures{_rate(counts.get('scored', 0), seconds)}"
        failed, texts = counts.get("not_scored", 0), counts.get("texts", 0)
        return f"{scored}, {failed:,} that a model could not take, {texts:,} texts"
    kept = counts.get("documents", 0) + counts.get("samples", 0)
    if stage == "extract":
        rows = counts.get("records.row", 0)
        done, noun = counts.get("pages.in", 0) + rows, "rows" if rows else "pages"
    elif stage == "fetch":
        kept = counts.get("media.ok", 0)
        done, noun = sum(number for name, number in counts.items() if name.startswith("media.")), "media"
    else:
        dropped = sum(number for name, number in counts.items() if name.startswith("pages.dropped."))
        done, noun = kept + dropped, "documents"
    return f"{done:,} {noun}{_rate(done, seconds)}, {kept:,} kept, {done - kept:,} dropped"


def _rate(number: int, seconds: float | None) -> str:
    return "" if seconds is None else f" ({number / max(seconds, 1e-9):,.0f}/s)"
