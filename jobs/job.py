"""A job: a run's folder, its configuration and an engine; and the one way in which every stage is run."""

import functools
import re
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any

import msgspec

from jobs.engine import Engine
from jobs.flink import job_name
from jobs.progress import Progress
from pipeline.claim import claim_job, held, under
from pipeline.config import Config
from pipeline.lists.lists import compile_pictures, compile_texts, prune, stored
from pipeline.read.inputs import Input
from pipeline.report import sum_counts
from pipeline.runfolder import RunFolder, StageRecord
from schemas.errors import OutputError

INPUTS = "inputs.json"


class Job:
    """What the stages of one command share."""

    def __init__(self, folder: RunFolder, config: Config, engine: Engine, progress: Progress) -> None:
        self.folder, self.config, self.engine, self.progress = folder, config, engine, progress
        self._lists: tuple[bytes, bytes] | None = None
        self._totals: dict[str, Counter[str]] = {}  # by the identity of a finished stage

    @property
    def url(self) -> str:
        """The folder's URL."""
        return self.folder.store.url

    def is_done(self, stage: str, identity: str) -> bool:
        """Whether the stage has been finished with all that it depends on as it is now; says so if it has."""
        record = self.folder.stage(stage)
        done = record is not None and record.identity == identity
        if done:
            self.progress.say(f"{stage}: nothing to do")
        return done

    def needs(self, stage: str, by: str) -> StageRecord:
        """The record of a stage that another one builds on.

        Raises:
            OutputError: it is not finished.
        """
        record = self.folder.stage(stage)
        if record is None:
            raise OutputError(f"{self.url}: {by} needs a finished {stage}; run m3w {stage} or m3w crawl first")
        return record

    def compile_lists(self) -> tuple[bytes, bytes]:
        """The user's lists about texts and URLs, and those of pictures, read once a command; b"" where there are none.

        Raises:
            InputError: one cannot be read.
            ConfigError: pHash or PDQ hashes for a run that makes none.
        """
        lists = self.config.lists
        if self._lists is None:
            places = lists.block_urls or lists.block_domains or lists.opt_out
            texts = compile_texts(lists) if places or lists.block_words or lists.evaluation_texts else b""
            has_pictures = lists.block_hashes or lists.evaluation_images
            pictures = compile_pictures(lists, self.config.images) if has_pictures else b""
            self._lists = texts, pictures
        return self._lists

    @functools.cached_property
    def text_lists(self) -> str:
        """The name of the compiled lists about texts and URLs in the run's folder, "" for none."""
        return stored(self.folder.store, self.compile_lists()[0])

    @functools.cached_property
    def picture_lists(self) -> str:
        """The same of the lists of pictures."""
        return stored(self.folder.store, self.compile_lists()[1])

    def prune_lists(self) -> None:
        """Deletes the compiled lists of other configurations."""
        prune(self.folder.store, {self.text_lists, self.picture_lists})

    def run(self, stage: str, parts: Iterable[str], build: Callable[[Any], Any]) -> None:
        """Runs a pipeline that writes these parts, with progress."""
        with self._watched(stage, set(parts)):
            self.send(build, stage)

    def send(self, build: Callable[[Any], Any], stage: str) -> None:
        """Runs a pipeline under the name of a stage. A job on a cluster outlives this command, so it works under a claim of its own."""
        name = job_name(self.url, stage)
        try:
            with under(held() if self.engine.is_local else claim_job(self.folder.store)):
                self.engine.run(build, name)
        except KeyboardInterrupt:
            if self.engine.job_server:
                end = self.engine.flink.how_to_end(name) if self.engine.flink else ""
                self.progress.say(
                    f"{stage}: goes on as {name} on the cluster; the same command waits for it{end and f', and this ends it: {end}'}"
                )
            raise

    def join(self) -> None:
        """Waits for what an earlier command, which was cut off, has left running of this folder on a cluster. Call it with the lock held."""
        for stage in self.engine.running(self.url):
            self.progress.say(f"{stage}: still runs on the cluster, sent by a command that is gone; waiting for it")
            with self._watched(stage, set()):
                self.engine.wait(self.url, stage)

    def _watched(self, stage: str, parts: set[str]) -> AbstractContextManager[None]:
        return self.progress.watch(
            self.folder, stage, parts, functools.partial(self.engine.says, job_name(self.url, stage))
        )

    def inputs(self) -> list[Input]:
        """The inputs that extract read."""
        return msgspec.json.decode(self.folder.store.read(INPUTS), type=list[Input])

    def total(self, stage: str, count: str) -> int:
        """The sum of a count over a finished stage's parts."""
        record = self.needs(stage, "a later stage")
        if record.identity not in self._totals:
            self._totals[record.identity] = sum_counts(self.folder.commits(stage))
        return self._totals[record.identity][count]


def part_name(name: str, identity: str) -> str:
    """A part's name: readable, safe in any store, and made unique by its identity."""
    return f"{re.sub(r'[^A-Za-z0-9._-]+', '_', name)[-80:].lstrip('.')}-{identity[:16]}"
