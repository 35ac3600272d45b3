"""Checkpoints: what is trained, the optimizer's state, what of the stream was consumed. Nothing is pickled.

    step-00000100/rank-00000.safetensors   trained.NAME, exp_avg.NAME, exp_avg_sq.NAME, step.NAME: what this rank has of them
                  state.json               step, stream, fingerprint of the frozen parts, which tensor stands where; written last

A folder without its `state.json` is no checkpoint: a full disk or a kill leaves the last good one alone. Ranks write their shares of one checkpoint while the
training goes on, and any other number of ranks loads it. Frozen weights are not saved: their fingerprint is, and a checkpoint is refused by a model with other
ones. There is no state of random generators: what is random in an update is a function of the run's seed and its number (`Ranks.seed`, `trainer.data`).
"""

import hashlib
import re
import warnings
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions
from torch.distributed.checkpoint.state_dict_loader import load as load_parts
from torch.distributed.checkpoint.state_dict_saver import save as save_parts

from schemas.errors import ConfigError, SchemaError, SurroundingsError
from trainer.data.stream import State
from trainer.ranks import Ranks
from trainer.sharding import full
from trainer.tensor_files import RECORD, Files, Reader, Stored, Writer

_NAME = re.compile(r"step-(\d{8,})")
_SAMPLED = 1024  # ours: values of each frozen tensor that its fingerprint is made of, so that 70 GB take a second
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # AdamW's


class CheckpointState(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The record of a checkpoint; `files` are SHA-256 digests by name, `tensors` where each part of them is."""

    step: int
    stream: State
    frozen: str
    files: dict[str, str]
    tensors: dict[str, Stored]


class Checkpoints:
    """Those of a run, in a folder of a disk or store, of which the `keep` latest stay; all ranks have one, and call it alike.

    It waits for the last one at the end of its `with`.
    """

    def __init__(self, folder: str | Path, ranks: Ranks = Ranks(), keep: int = 3) -> None:
        self._folder, self._ranks, self._keep = str(folder), ranks, keep
        self._group = dist.new_group(backend="gloo") if ranks.ranks > 1 else None  # apart from that of the training
        on_gpu = ranks.device != "cpu"
        self._stager = DefaultStager(
            StagingOptions(
                use_pinned_memory=on_gpu,
                use_shared_memory=False,
                use_async_staging=False,
                use_non_blocking_copy=on_gpu,
            )
        )
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._saving: Future[None] | None = None
        self._frozen = ""

    def save(self, step: int, model: nn.Module, optim: torch.optim.Optimizer, stream: State) -> None:
        """Copies what is to be saved, and writes it while the caller goes on; the one before has to be whole first.

        Raises:
            as `wait`.
        """
        self.wait()
        self._frozen = self._frozen or fingerprint(model)
        copies = self._stager.stage({**_trained(model), **_moments(model, optim)})
        assert isinstance(copies, dict)  # it would be a future, were it asked not to wait
        extra = {"step": step, "stream": stream, "frozen": self._frozen}
        url = f"{self._folder}/step-{step:08d}"
        self._saving = self._thread.submit(self._save, url, copies, extra)

    def wait(self) -> None:
        """Until the last checkpoint is whole.

        Raises:
            SurroundingsError: it could not be written; earlier ones are as they were.
        """
        saving, self._saving = self._saving, None
        if saving is None:
            return
        try:
            saving.result()
        except (OSError, CheckpointException) as error:
            raise SurroundingsError(f"{self._folder}: a checkpoint could not be written: {_cause(error)}") from error

    def _save(self, url: str, copies: dict[str, Any], extra: Mapping[str, Any]) -> None:
        writer = Writer(url, self._ranks.rank, extra)
        try:
            if self._group is None:
                _save_alone(copies, writer)
            else:
                save_parts(copies, storage_writer=writer, process_group=self._group)
        except (OSError, CheckpointException):
            if self._ranks.rank == 0:
                _remove(url)
            raise
        if self._ranks.rank == 0:
            for old in checkpoints(self._folder)[: -self._keep]:
                _remove(old)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.wait()
        finally:
            self._thread.shutdown()
            self._stager.close()


def checkpoints(folder: str | Path) -> list[str]:
    """The whole checkpoints of a folder, oldest first."""
    files = Files(str(folder))
    if not files.fs.exists(files.path):
        return []
    names = [str(path).rstrip("/").rpartition("/")[2] for path in files.fs.ls(files.path, detail=False)]
    steps = sorted((int(found[1]), name) for name in names if (found := _NAME.fullmatch(name)))
    return [f"{folder}/{name}" for _, name in steps if files.fs.exists(files.place(f"{name}/{RECORD}"))]


def load(
    checkpoint: str | Path, model: nn.Module, optim: torch.optim.Optimizer | None = None, ranks: Ranks = Ranks()
) -> CheckpointState:
    """Puts a checkpoint into a model, and into its optimizer; each rank reads what it has of them.

    Raises:
        SchemaError: a file is not what was written.
        ConfigError: it is of another model: other frozen weights, other trained ones.
    """
    state = read_state(checkpoint, ranks)
    if state.frozen != fingerprint(model):
        raise ConfigError(f"{checkpoint} was trained with other frozen weights than this model has")
    wanted = _trained(model)
    saved = {name: one.size for name, one in state.tensors.items() if name.startswith("trained.")}
    if saved != {name: list(one.shape) for name, one in wanted.items()}:
        raise ConfigError(f"{checkpoint} is of another model: other trained weights, or other shapes")
    if optim is not None and len(state.tensors) > len(saved):
        for _, one in _named_trained(model):
            moments = {name: torch.zeros_like(one) for name in _MOMENTS[1:]}
            optim.state[one] = {"step": torch.zeros((), dtype=torch.float32), **moments}
        wanted |= _moments(model, optim)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled")  # a rank by itself
        try:
            load_parts(wanted, storage_reader=Reader(str(checkpoint), state.tensors))
        except CheckpointException as error:
            raise SchemaError(f"{checkpoint}: {_cause(error)}") from error
    return state


def read_state(checkpoint: str | Path, ranks: Ranks = Ranks()) -> CheckpointState:
    """The record of a checkpoint whose files are what was written; ranks share the work of looking.

    Raises:
        SchemaError: they are not.
    """
    files = Files(str(checkpoint))
    try:
        state = msgspec.json.decode(files.fs.cat_file(files.place(RECORD)), type=CheckpointState)
    except (OSError, msgspec.MsgspecError) as error:
        raise SchemaError(f"{checkpoint}: no checkpoint: {error}") from error
    own = list(state.files.items())[ranks.rank :: ranks.ranks]
    bad = ranks.all([name for name, digest in own if not _is(files, name, digest)])
    if bad:
        raise SchemaError(f"{checkpoint}/{bad[0]} is not what was written; take an earlier checkpoint")
    return state


def trained_weights(checkpoint: str | Path) -> dict[str, Tensor]:
    """The whole trained weights of a checkpoint by name, for who has no model of them.

    Raises:
        SchemaError: a file is not what was written.
    """
    state = read_state(checkpoint)
    stored = {name: one for name, one in state.tensors.items() if name.startswith("trained.")}
    found = Reader(str(checkpoint), stored).whole()
    return {name.removeprefix("trained."): one for name, one in found.items()}


def fingerprint(model: nn.Module) -> str:
    """32 hex digits that change when a frozen weight is another: names, shapes, types, and evenly spaced values of each.

    The same however they are spread over ranks; all of them ask for it.
    """
    hashed = hashlib.sha256()
    for name, one in model.named_parameters():
        if not one.requires_grad:
            values = full(one.detach()).flatten()
            every = max(1, len(values) // _SAMPLED)
            hashed.update(f"{name} {tuple(one.shape)} {one.dtype}".encode())
            hashed.update(np.ascontiguousarray(values[::every].float().cpu().numpy()).tobytes())
    return hashed.hexdigest()[:32]


def _named_trained(model: nn.Module) -> Iterable[tuple[str, nn.Parameter]]:
    return ((name, one) for name, one in model.named_parameters() if one.requires_grad)


def _trained(model: nn.Module) -> dict[str, Tensor]:
    return {f"trained.{name}": one.detach() for name, one in _named_trained(model)}


def _moments(model: nn.Module, optim: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {
        f"{kind}.{name}": optim.state[one][kind]
        for name, one in _named_trained(model)
        for kind in _MOMENTS
        if one in optim.state
    }


def _save_alone(copies: dict[str, Any], writer: Writer) -> None:
    """What torch's `save` does with many ranks."""
    planner = DefaultSavePlanner()
    planner.set_up_planner(copies, is_coordinator=True)
    writer.set_up_storage_writer(True)
    (plan,), metadata = planner.create_global_plan([planner.create_local_plan()])
    written = writer.write_data(planner.finish_plan(plan), planner)
    writer.finish(metadata, [written.value()])


def _cause(error: BaseException) -> BaseException:
    """The first that a rank met."""
    if isinstance(error, CheckpointException):
        return next(iter(error.failures.values()))[0]
    return error


def _is(files: Files, name: str, digest: str) -> bool:
    return bool(files.fs.exists(files.place(name))) and files.digest(name) == digest


def _remove(checkpoint: str) -> None:
    """Takes a checkpoint away, its record first: at no time half of one looks whole."""
    files = Files(checkpoint)
    if files.fs.exists(files.place(RECORD)):
        files.fs.rm_file(files.place(RECORD))
    if files.fs.exists(files.path):
        files.fs.rm(files.path, recursive=True)
