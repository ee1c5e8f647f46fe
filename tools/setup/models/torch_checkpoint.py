"""Reads a PyTorch checkpoint of the legacy format (before the zip format) without PyTorch.

The file is a sequence of pickles (magic number, protocol, system information, the dictionary of tensors, the
keys of the storages), then each storage as its length (64 bit) and its values. A tensor names a storage, an
offset, a size and strides, which need not be those of a contiguous array. Only the names that a dictionary
of tensors needs are unpickled: nothing in the file can run code.
"""

import pickle
import struct
from collections import OrderedDict
from dataclasses import dataclass
from io import BytesIO

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C
TYPES = {"FloatStorage": "<f4", "LongStorage": "<i8"}


@dataclass
class _Tensor:
    storage: tuple[str, str]
    offset: int
    size: tuple[int, ...]
    strides: tuple[int, ...]

    def values(self, storages: dict[str, np.ndarray]) -> np.ndarray:
        key, kind = self.storage
        flat = storages[key].view(TYPES[kind])[self.offset :]
        if not self.size:
            return flat[:1].reshape(()).copy()
        strides = [stride * flat.itemsize for stride in self.strides]
        return np.lib.stride_tricks.as_strided(flat, self.size, strides).copy()


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str):
        if name in TYPES:
            return name
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, size, strides, *_: _Tensor(storage, offset, size, strides)
        raise pickle.UnpicklingError(f"the checkpoint names {module}.{name}, which tensors do not need")

    def persistent_load(self, identity):
        _, kind, key, *_ = identity
        return key, kind


def read_checkpoint(content: bytes) -> dict[str, np.ndarray]:
    """The tensors of the checkpoint by name."""
    file = BytesIO(content)
    if _Unpickler(file).load() != MAGIC:
        raise SystemExit("the checkpoint is not in PyTorch's legacy format")
    _Unpickler(file).load()  # protocol version
    _Unpickler(file).load()  # system information
    tensors: dict[str, _Tensor] = _Unpickler(file).load()
    widths = {tensor.storage[0]: np.dtype(TYPES[tensor.storage[1]]).itemsize for tensor in tensors.values()}
    storages = {}
    for key in _Unpickler(file).load():
        (count,) = struct.unpack("<q", file.read(8))
        storages[key] = np.frombuffer(file.read(count * widths[key]), np.uint8)
    return {name: tensor.values(storages) for name, tensor in tensors.items()}
