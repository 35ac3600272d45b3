"""Progress: what a running stage has done, read from its commit records.

Records are the only thing that workers on any engine share with us, and they are exact: what is shown is what a rerun would find.
"""

import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
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
        return f"{self._stage}: {len(self._seen)}{of} parts, {self._things(seconds)}, {seconds:.0f} s"

    def _things(self, seconds: float) -> str:
        """What the stage counts: how many, how fast, how many kept and dropped."""
        counts = self._counts
        if self._stage == "extract":
            done, noun = counts["pages.in"] + counts["records.row"], "rows" if counts["records.row"] else "pages"
        elif self._stage == "fetch":
            done, noun = sum(number for name, number in counts.items() if name.startswith("media.")), "media"
        elif self._stage == "score":
            scored = f"{counts['scored']:,} pictures ({counts['scored'] / max(seconds, 1e-9):,.0f}/s)"
            return f"{scored}, {counts['not_scored']:,} that a model could not take, {counts['texts']:,} texts"
        else:
            done, noun = counts["documents"] + counts["samples"] + _dropped(counts), "documents"
        kept = counts["media.ok"] if self._stage == "fetch" else counts["documents"] + counts["samples"]
        return f"{done:,} {noun} ({done / max(seconds, 1e-9):,.0f}/s), {kept:,} kept, {done - kept:,} dropped"


def _dropped(counts: Counter[str]) -> int:
    return sum(number for name, number in counts.items() if name.startswith("pages.dropped."))
