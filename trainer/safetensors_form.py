"""The safetensors form by itself: a header of JSON, then the tensors' bytes one after another, so that parts of either are read and written at any place.

8 bytes: length of the header    {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...}    bytes
"""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, BinaryIO, Final

import msgspec
import torch
from torch import Tensor

from schemas.errors import SchemaError

TYPES: Final = {
    "F64": torch.float64,
    "F32": torch.float32,
    "BF16": torch.bfloat16,
    "F16": torch.float16,
    "I64": torch.int64,
}
NAMES: Final = {dtype: name for name, dtype in TYPES.items()}
_ALIGNED: Final = 8  # bytes; safetensors pads its header to it
_HEADER: Final = 100_000_000  # bytes; the longest header that safetensors allows


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tensor in the header of a safetensors file; its bytes begin and end at `data_offsets`, counted from the header's end."""

    dtype: str
    shape: list[Annotated[int, msgspec.Meta(ge=0)]]
    data_offsets: tuple[int, int]


def header_of(shapes: Mapping[str, tuple[torch.dtype, Sequence[int]]]) -> bytes:
    """The beginning of a safetensors file whose tensors follow one another in this order."""
    header, end = {}, 0
    for name, (dtype, shape) in shapes.items():
        begin, end = end, end + dtype.itemsize * torch.Size(shape).numel()
        header[name] = {"dtype": NAMES[dtype], "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % _ALIGNED)
    return len(text).to_bytes(8, "little") + text


def read_header(file: BinaryIO) -> tuple[dict[str, Entry], int]:
    """What stands where in a safetensors file, and where its tensors begin.

    Raises:
        SchemaError: it is no such file.
    """
    length = int.from_bytes(file.read(8), "little")
    try:
        header = msgspec.json.decode(file.read(min(length, _HEADER)), type=dict[str, Entry])
    except msgspec.MsgspecError as error:
        raise SchemaError(f"no safetensors file: {error}") from error
    return header, 8 + length


def read_tensor(file: BinaryIO, header: Mapping[str, Entry], begin: int, name: str) -> Tensor:
    """One tensor of a safetensors file.

    Raises:
        SchemaError: it is not there, or not as long as its shape says.
    """
    one = header.get(name)
    if one is None or one.dtype not in TYPES:
        raise SchemaError(f"{name} is not in its safetensors file, or of a type that none of ours has")
    first, end = one.data_offsets
    file.seek(begin + first)
    data = bytearray(file.read(max(0, end - first)))
    dtype, shape = TYPES[one.dtype], torch.Size(one.shape)
    if len(data) != dtype.itemsize * shape.numel():
        raise SchemaError(f"{name} has {len(data)} bytes in its safetensors file, which is not what {one.shape} takes")
    return torch.frombuffer(data, dtype=dtype).view(shape) if data else torch.empty(shape, dtype=dtype)


def bytes_of(tensor: object) -> bytes:
    """A tensor's values, row by row."""
    assert isinstance(tensor, Tensor)
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes()
