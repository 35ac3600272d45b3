"""Tensors of a checkpoint in files of the safetensors form, one a rank, on a disk or in any store that fsspec knows; a JSON record says what is where.

This is how `torch.distributed.checkpoint` stores here. It plans who writes which part of which tensor, and who reads which part of which file; its own storages
are not taken, because their record is a pickle, which runs what a stranger put into it, or because they know disks only.

    rank-00000.safetensors   what the planner gave this rank to write, by name
    state.json               what of which tensor stands in which file, their digests, and what the run adds; written last: with it the checkpoint is whole
"""

import hashlib
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import fsspec
import msgspec
import torch
from torch import Tensor
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import LoadPlan, LoadPlanner, ReadItem, SavePlan, SavePlanner
from torch.distributed.checkpoint.storage import StorageReader, StorageWriter, WriteResult
from torch.futures import Future

from trainer.safetensors_form import NAMES, TYPES, bytes_of, header_of, read_header, read_tensor

RECORD: Final = "state.json"


class Chunk(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a tensor, from `offsets` on, in a file that holds it under the tensor's name."""

    file: Annotated[str, msgspec.Meta(pattern=r"^rank-\d{5}\.safetensors$")]
    offsets: list[int]
    sizes: list[int]


class Stored(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tensor; `dtype` by its name in safetensors."""

    dtype: str
    size: list[int]
    chunks: list[Chunk]


class Files:
    """A folder of a disk or store."""

    def __init__(self, url: str) -> None:
        self.fs, self.path = fsspec.core.url_to_fs(url)
        self._is_disk = "file" in self.fs.protocol

    def place(self, name: str) -> str:
        """Where a file of the folder is."""
        return f"{self.path}/{name}"

    def open(self, name: str, mode: str = "rb") -> Any:
        """A file of the folder."""
        return self.fs.open(self.place(name), mode)

    def write_whole(self, name: str, data: bytes) -> None:
        """A file that is there whole or not at all: renamed on a disk, one request to a store."""
        if not self._is_disk:
            self.fs.pipe_file(self.place(name), data)
            return
        part = self.place(f".{name}")
        with open(part, "wb") as file:
            file.write(data)
            self.sync(file)
        os.replace(part, self.place(name))
        for folder in (self.path, os.path.dirname(self.path)):
            handle = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)

    def sync(self, file: Any) -> None:
        """Makes sure that what was written is on the disk; a store has it when the file is closed."""
        if self._is_disk:
            file.flush()
            os.fsync(file.fileno())

    def digest(self, name: str) -> str:
        """SHA-256 of a file."""
        hashed = hashlib.sha256()
        with self.open(name) as file:
            while data := file.read(1 << 20):
                hashed.update(data)
        return hashed.hexdigest()


class _Written(msgspec.Struct, frozen=True, kw_only=True):
    """What a rank tells of one tensor that it wrote."""

    sha256: str
    dtype: str
    chunk: Chunk


class Writer(StorageWriter):
    """Writes a rank's part of a checkpoint; the first rank commits it with the record of all, with `extra` in it."""

    def __init__(self, url: str, rank: int, extra: Mapping[str, Any]) -> None:
        self._files, self._name, self._extra = Files(url), f"rank-{rank:05d}.safetensors", extra

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        """A writer is for one checkpoint."""

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        """What a run that was killed has left at the same place goes."""
        if is_coordinator:
            if self._files.fs.exists(self._files.path):
                self._files.fs.rm(self._files.path, recursive=True)
            self._files.fs.makedirs(self._files.path, exist_ok=True)

    def prepare_local_plan(self, plan: SavePlan) -> SavePlan:
        """As planned."""
        return plan

    def prepare_global_plan(self, plans: list[SavePlan]) -> list[SavePlan]:
        """As planned."""
        return plans

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        """Writes one tensor after another."""
        done: Future[list[WriteResult]] = Future()
        if not plan.items:
            done.set_result([])
            return done
        shapes = {}
        for item in plan.items:
            assert item.tensor_data is not None
            shapes[item.index.fqn] = (item.tensor_data.properties.dtype, list(item.tensor_data.chunk.sizes))
        hashed = hashlib.sha256()
        with self._files.open(self._name, "wb") as file:
            for data in (header_of(shapes), *(bytes_of(planner.resolve_data(item)) for item in plan.items)):
                hashed.update(data)
                file.write(data)
            self._files.sync(file)
        results = []
        for item in plan.items:
            assert item.tensor_data is not None
            dtype, sizes = shapes[item.index.fqn]
            chunk = Chunk(file=self._name, offsets=list(item.tensor_data.chunk.offsets), sizes=sizes)
            written = _Written(sha256=hashed.hexdigest(), dtype=NAMES[dtype], chunk=chunk)
            results.append(WriteResult(index=item.index, size_in_bytes=0, storage_data=written))
        done.set_result(results)
        return done

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        """Commits the checkpoint."""
        found: dict[str, list[_Written]] = defaultdict(list)
        for one in (result for of_rank in results for result in of_rank):
            found[one.index.fqn].append(one.storage_data)
        tensors = {
            name: Stored(
                dtype=parts[0].dtype,
                size=list(metadata.state_dict_metadata[name].size),  # type: ignore[union-attr]
                chunks=[part.chunk for part in parts],
            )
            for name, parts in sorted(found.items())
        }
        files = {part.chunk.file: part.sha256 for parts in found.values() for part in parts}
        record = {**self._extra, "files": dict(sorted(files.items())), "tensors": tensors}
        self._files.write_whole(RECORD, msgspec.json.encode(record))

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:
        """It is never chosen by a name."""
        return False


class Reader(StorageReader):
    """Reads what a rank is to have of a checkpoint's `tensors`."""

    def __init__(self, url: str, tensors: Mapping[str, Stored]) -> None:
        self._files, self._tensors = Files(url), tensors

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        """A reader is for one checkpoint."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """The record, in torch's words."""
        return Metadata(
            state_dict_metadata={
                name: TensorStorageMetadata(
                    properties=TensorProperties(dtype=TYPES[one.dtype]),
                    size=torch.Size(one.size),
                    chunks=[
                        ChunkStorageMetadata(offsets=torch.Size(chunk.offsets), sizes=torch.Size(chunk.sizes))
                        for chunk in one.chunks
                    ],
                )
                for name, one in self._tensors.items()
            }
        )

    def set_up_storage_reader(self, metadata: Metadata, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        """Nothing to set up."""

    def prepare_local_plan(self, plan: LoadPlan) -> LoadPlan:
        """As planned."""
        return plan

    def prepare_global_plan(self, plans: list[LoadPlan]) -> list[LoadPlan]:
        """As planned."""
        return plans

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Future[None]:
        """Fills the planner's tensors, file by file."""
        by_file: dict[str, list[ReadItem]] = defaultdict(list)
        for item in plan.items:
            by_file[self._chunk(item.storage_index).file].append(item)
        for name, items in by_file.items():
            with self._files.open(name) as file:
                header, begin = read_header(file)
                for item in items:
                    chunk = read_tensor(file, header, begin, item.storage_index.fqn)
                    target = planner.resolve_tensor(item).detach()
                    target.copy_(chunk[tuple(_span(item.storage_offsets, item.lengths))])
                    planner.commit_tensor(item, target)
        done: Future[None] = Future()
        done.set_result(None)
        return done

    def whole(self) -> dict[str, Tensor]:
        """All tensors, each put together of its parts."""
        found = {name: torch.empty(one.size, dtype=TYPES[one.dtype]) for name, one in self._tensors.items()}
        for name, one in self._tensors.items():
            for chunk in one.chunks:
                with self._files.open(chunk.file) as file:
                    header, begin = read_header(file)
                    part = read_tensor(file, header, begin, name)
                found[name][tuple(_span(chunk.offsets, chunk.sizes))] = part
        return found

    def _chunk(self, index: MetadataIndex) -> Chunk:
        offsets = list(index.offset or [])
        return next(chunk for chunk in self._tensors[index.fqn].chunks if offsets in ([], chunk.offsets))

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:
        """It is never chosen by a name."""
        return False


def _span(offsets: Sequence[int], sizes: Sequence[int]) -> list[slice]:
    """From each offset on so many."""
    return [slice(offset, offset + size) for offset, size in zip(offsets, sizes, strict=True)]
