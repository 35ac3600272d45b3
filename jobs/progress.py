"""Progress: what a running stage has done, read from its commit records.

Records are the only thing that workers on any engine share with us, and they are exact: what is shown is what a rerun would find. A stage of several
steps has none until its end; until then the engine is asked.
"""

import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

from pipeline.runfolder import RunFolder
from schemas.errors import M3wError

POLL_S = 0.5
POLL_STORE_S = 5.0  # a listing is a request, and costs
LINE_EVERY_S = 10.0  # where there is no terminal: a line now and then
QUIET_S = 60.0  # ours: a job that gives nothing for longer is not to look like one that does


class Progress:
    """How a job tells what it does: this one shows nothing."""

    def say(self, line: str) -> None:
        """A line of news."""

    @contextmanager
    def watch(self, folder: RunFolder, stage: str, parts: set[str], says: Callable[[], str]) -> Iterator[None]:
        """Shows a stage's progress while the block runs; `parts` are all that it will have (none: not known before), `says` tells how the engine is."""
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
    def watch(self, folder: RunFolder, stage: str, parts: set[str], says: Callable[[], str]) -> Iterator[None]:
        """Polls the stage's records until the block ends."""
        done = threading.Event()
        watcher = _Watcher(folder, stage, parts, says)
        thread = threading.Thread(target=self._poll, args=(watcher, done), daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
        self._write(watcher.line(), last=True)

    def _poll(self, watcher: "_Watcher", done: threading.Event) -> None:
        shown = time.monotonic()
        poll_s = POLL_S if watcher.is_local else POLL_STORE_S
        while not done.wait(poll_s):
            if self._live or time.monotonic() - shown >= LINE_EVERY_S:
                with suppress(M3wError):  # a record that cannot be read now is read at the next turn
                    self._write(watcher.line_at_work())
                shown = time.monotonic()

    def _write(self, line: str, last: bool = False) -> None:
        if self._live:
            width = shutil.get_terminal_size().columns - 1  # a line that wraps cannot be rewritten
            print(f"\r\x1b[2K{line if last else line[:width]}", end="\n" if last else "", file=self._out, flush=True)
        else:
            print(line, file=self._out)


class _Watcher:
    """The counts of a stage's parts as they are committed."""

    def __init__(self, folder: RunFolder, stage: str, parts: set[str], says: Callable[[], str]) -> None:
        self._folder, self._stage, self._parts, self._says = folder, stage, parts, says
        self._before = folder.committed(stage)
        self.is_local = folder.store.is_local
        self._counts: Counter[str] = Counter()
        self._seen: set[str] = set()
        self._start = self._moved = time.monotonic()

    def line(self) -> str:
        """What has been done."""
        self._read()
        seconds = time.monotonic() - self._start
        return f"{self._parts_done()}, {work_done(self._stage, self._counts, seconds)}, {seconds:.0f} s"

    def line_at_work(self) -> str:
        """What has been done so far, if anything has, and what the engine says, or else for how long nothing has come."""
        self._read()
        now = time.monotonic()
        done = f", {work_done(self._stage, self._counts, now - self._start)}" if self._seen else ""
        quiet = f"nothing new for {now - self._moved:.0f} s" if now - self._moved > QUIET_S else ""
        says = self._says() or quiet
        return f"{self._parts_done()}{done}, {now - self._start:.0f} s{says and f'; {says}'}"

    def _read(self) -> None:
        new = self._folder.committed(self._stage) - self._before - self._seen
        wanted = sorted(new & self._parts if self._parts else new)
        for commit in self._folder.commits_of(self._stage, wanted):
            self._counts.update(commit.counts)
            self._seen.add(commit.part)
            self._moved = time.monotonic()

    def _parts_done(self) -> str:
        of = f"/{len(self._parts - self._before)}" if self._parts else ""
        return f"{self._stage}: {len(self._seen)}{of} parts"


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
