"""`unspool.save` and `unspool.load`: tensors, and checkpoints built of them, in the safetensors format, never pickles.

A file's tensors are ordinary safetensors entries. What is around them, the structure, is JSON in the file's metadata,
where a tensor is named by its entry: `["dict", "epoch", 3, "w", ["tensor", "w"]]`. The header begins with the SHA-256
of every other byte of the file. Start reading at `_pack` and `_unpack`; how a file is written is `_files`' affair.
"""

from __future__ import annotations

import hashlib
import importlib
import io
import json
import math
import os
import struct
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from unspool import _core
from unspool._files import replace_file, write_all
from unspool.errors import CheckpointError, DTypeError
from unspool.nn.parameter import Parameter

__all__ = ["load", "save"]

# A file that `save` wrote has its header's length, these bytes and the digest's digits.
_LEAD = b'{"__metadata__":{"unspool.sha256":"'
_DIGITS = 64
_DIGEST = slice(8 + len(_LEAD), 8 + len(_LEAD) + _DIGITS)
_STRUCTURE = "unspool.structure"
_LONGEST_HEADER = 100_000_000  # bytes that readers of the format take
_DEEPEST = 100
_JSON_INT = 1 << 63

# The format's names of dtypes.
_TENSORS: dict[str, Any] = {
    "BOOL": _core.bool, "U8": _core.uint8, "I32": _core.int32, "I64": _core.int64, "F16": _core.float16,
    "BF16": _core.bfloat16, "F32": _core.float32, "F64": _core.float64,
}  # fmt: skip
_ARRAYS = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "uint16", "I16": "int16", "U32": "uint32", "I32": "int32",
    "U64": "uint64", "I64": "int64", "F16": "float16", "F32": "float32", "F64": "float64", "C64": "complex64",
}  # fmt: skip
_CODES: dict[Any, str] = {dtype: code for table in (_TENSORS, _ARRAYS) for code, dtype in table.items()}
_SEQUENCES: dict[Any, str] = {list: "list", tuple: "tuple", _core.Size: "Size"}
_MAPPINGS: dict[Any, str] = {dict: "dict", OrderedDict: "OrderedDict", Counter: "Counter"}


def save(obj: Any, f: Any) -> None:
    """Write `obj` into the file at path `f`, or into the binary file object `f`, in the safetensors format.

    `obj` is a state_dict, or anything nested of dicts, lists and tuples with tensors, NumPy arrays, numbers, strings
    and None in them. The tensors of a state_dict stand in the file under its keys, where any reader of safetensors
    finds them; those of a nested object under the keys that lead to them: `model.0.weight`. `load` gives back equal
    values of the same types, to the bit. Tensors lose their history, not `requires_grad`; those that are the same part
    of one storage are one tensor afterwards; other views become tensors of their own.

    A file at a path is replaced whole: whenever the process or the machine stops, the old file or the new one is there.
    What is raised before the new one has taken its place, complete on the disk, leaves the old one and nothing beside
    it. A file object is written from where it stands.

    Raises:
        TypeError: `obj` holds something else; the text tells where. `f` is neither a path nor a binary file.
        ValueError: `obj` is nested more than 100 levels deep, or its structure is longer than the format allows.
        OSError: `f` can't be written, with its path.
    """
    if isinstance(f, io.TextIOBase):
        raise TypeError(f"save: f must be opened in binary mode, got {f!r}")
    is_path = isinstance(f, (str, bytes, os.PathLike))
    if not is_path and not hasattr(f, "write"):
        raise TypeError(f"save: f must be a path or a file opened for writing, got {type(f).__name__}")
    chunks = _pack(obj)
    if is_path:
        replace_file(f, chunks, "save")
    else:
        write_all(f.write, chunks)


def load(f: Any, map_location: Any = None, *, weights_only: bool | None = None) -> Any:
    """What `save` wrote into the file at path `f`, or into the binary file object `f`.

    A safetensors file of another program gives a dict of its tensors, in the order of the file. The tensors own their
    memory: the file may be replaced or removed. Every file that `save` wrote is checked against its SHA-256.

    Args:
        f: a path, or a file object, which is read to its end.
        map_location: None or "cpu".
        weights_only: taken for PyTorch's sake. No file makes `load` run code.

    Raises:
        CheckpointError: the file is damaged or cut short, or no safetensors file; PyTorch's own files are refused.
        DTypeError: it has a tensor of a dtype that unspool has not.
        RuntimeError: another `map_location`.
        OSError: it can't be read.
        ImportError: safetensors is not installed.
    """
    if map_location is not None:
        try:
            _core.device(map_location)
        except (RuntimeError, TypeError) as error:
            raise RuntimeError(f'load: map_location must be None or "cpu", got {map_location!r}') from error
    if isinstance(f, (str, bytes, os.PathLike)):
        with open(f, "rb") as file:
            return _unpack(file.read(), repr(os.fspath(f)))
    if not hasattr(f, "read") or isinstance(f, io.TextIOBase):
        raise TypeError(f"load: f must be a path or a file opened for reading in binary mode, got {type(f).__name__}")
    return _unpack(bytes(f.read()), f"the content of {type(f).__name__}")


def _pack(obj: Any) -> tuple[bytes, bytes]:
    """The file's bytes: the header, and the data behind it.

    It is put together here and not by `safetensors.serialize`, which copies a tenth of a gigabyte a second, takes twice
    the data's memory, and lists metadata in an order that changes from run to run. So equal objects make equal files.
    """
    parts = _Parts(obj)
    structure = json.dumps(parts.structure, separators=(",", ":"), allow_nan=False)
    header: dict[str, Any] = {"__metadata__": {"unspool.sha256": "0" * _DIGITS, "format": "pt", _STRUCTURE: structure}}
    end = 0
    entries = sorted(parts.entries.items(), key=lambda item: -item[1].align)  # each is aligned then
    for name, entry in entries:
        begin, end = end, end + entry.data.nbytes
        header[name] = {"dtype": entry.dtype, "shape": entry.shape, "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > _LONGEST_HEADER:
        raise ValueError(
            f"save: obj takes {len(text)} bytes beside the data of its tensors, of which the format allows "
            f"{_LONGEST_HEADER}; put long lists of numbers into tensors or arrays"
        )
    # A copy, so that what is written is what the digest is of, whatever other threads do to the tensors.
    data = b"".join(entry.data for _, entry in entries)
    head = struct.pack("<Q", len(text)) + text
    return head[: _DIGEST.start] + _digest(head, data).encode() + head[_DIGEST.stop :], data


def _digest(head: bytes, data: Any) -> str:
    """The SHA-256 of everything but its own digits."""
    digest = hashlib.sha256(head[: _DIGEST.start])
    digest.update(head[_DIGEST.stop :])
    digest.update(data)
    return digest.hexdigest()


def _unpack(content: bytes, name: str) -> Any:
    try:
        library: Any = importlib.import_module("safetensors")
    except ImportError as error:
        raise ImportError("load needs safetensors: pip install 'unspool[save]'") from error
    verified = _verify(content, name)
    try:
        entries = dict(library.deserialize(content))
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    except (library.SafetensorError, ValueError, RecursionError) as error:
        raise CheckpointError(f"load: {name} {_foreign(content)} ({error})") from error
    del content  # `entries` has a copy, and what is made of them is another
    metadata = header.get("__metadata__") or {}
    whole = _Whole(entries, name)
    if not any(key.startswith("unspool.") for key in metadata):
        return {key: whole.tensor(key) for key in entries}
    if not verified:
        raise CheckpointError(f"load: {name} is damaged, or another program changed a file that unspool.save wrote")
    try:
        return whole.decode(json.loads(metadata[_STRUCTURE]))
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError, struct.error) as error:
        raise CheckpointError(f"load: {name} has a structure that this version can't read: {error!r}") from error


def _verify(content: bytes, name: str) -> bool:
    """Whether the file carries a digest of its bytes, which is then right."""
    if content[8 : _DIGEST.start] != _LEAD:
        return False
    if content[_DIGEST] != _digest(content[: _DIGEST.stop], memoryview(content)[_DIGEST.stop :]).encode():
        raise CheckpointError(
            f"load: {name} is damaged or cut short: its SHA-256 is not the one that it was saved with"
        )
    return True


def _foreign(content: bytes) -> str:
    """What a file that can't be read seems to be."""
    pickled = content[:1] == b"\x80" and content[1:2] in (b"\2", b"\3", b"\4", b"\5")
    if content[:4] == b"PK\3\4" or pickled:
        return (
            "is a zip or pickle file, as torch.save writes: to read one is to run the code in it. Load it in PyTorch "
            "and save its state_dict as safetensors, with safetensors.torch.save_file"
        )
    return "is damaged, cut short or no safetensors file"


class _Entry(NamedTuple):
    """A tensor in the file. Its `data` are bytes, in the tensor's own memory where they lie there in order."""

    dtype: str
    shape: tuple[int, ...]
    align: int
    data: Any


class _Parts:
    """An object taken apart: `structure`, which JSON can hold, and the `entries` of the file, by name."""

    def __init__(self, obj: Any) -> None:
        self.entries: dict[str, _Entry] = {}
        self._names: dict[Any, str] = {}
        # Other programs look for a tensor under each key of a state_dict, tied or not.
        self._every_key = type(obj) in (dict, OrderedDict) and all(isinstance(v, _core.Tensor) for v in obj.values())
        self.structure = self._encode(obj, ())

    def _encode(self, value: Any, path: tuple[Any, ...]) -> Any:
        kind = type(value)
        if value is None or kind is bool or kind is str:
            return value
        if kind is int:
            return value if abs(value) < _JSON_INT else ["int", hex(value)]
        if kind is float:
            return value if math.isfinite(value) else ["float", struct.pack(">d", value).hex()]
        if len(path) > _DEEPEST:
            raise ValueError(
                f"save: obj is nested more than {_DEEPEST} levels deep at {_shown(path[:3])}…; maybe it holds itself"
            )
        if kind in _SEQUENCES:
            return [_SEQUENCES[kind], *[self._encode(v, (*path, i)) for i, v in enumerate(value)]]
        if kind in _MAPPINGS:
            return self._mapping(_MAPPINGS[kind], value, path)
        if isinstance(value, np.generic) and value.dtype.kind in "biufc":
            return ["scalar", value.dtype.str, value.tobytes().hex()]
        if kind in (np.ndarray, np.memmap):
            return self._array(value, path)
        if isinstance(value, _core.Tensor):
            return self._tensor(value, path)
        raise TypeError(
            f"save: {_shown(path)} is of type {_type_name(kind)}, which is not saved{_hint(value)}. A file holds "
            "tensors, NumPy arrays, numbers, strings and None, in dicts, lists and tuples"
        )

    def _mapping(self, tag: str, value: Any, path: tuple[Any, ...]) -> list[Any]:
        node = [tag]
        if tag == "OrderedDict" and hasattr(value, "_metadata"):  # the versions in a state_dict
            node = ["state_dict", self._encode(value._metadata, (*path, "_metadata"))]
        for key, item in value.items():
            node.append(self._key(key, path))
            node.append(self._encode(item, (*path, key)))
        return node

    def _key(self, key: Any, path: tuple[Any, ...]) -> Any:
        if not isinstance(key, (type(None), bool, int, float, str, tuple, np.generic)):
            raise TypeError(f"save: {_shown(path)} has a key of type {_type_name(type(key))}, which is not saved")
        return self._encode(key, (*path, key))

    def _array(self, a: Any, path: tuple[Any, ...]) -> list[Any]:
        if a.dtype.name not in _CODES:
            raise TypeError(f"save: {_shown(path)} is a NumPy array of dtype {a.dtype}, which the format does not have")
        name = self._names.get(id(a))
        if name is None:
            data = np.ascontiguousarray(a, a.dtype.newbyteorder("<")).reshape(-1).view(np.uint8)
            name = self._names[id(a)] = self._add(path, _Entry(_CODES[a.dtype.name], a.shape, a.itemsize, data))
        return ["array", name]

    def _tensor(self, t: Any, path: tuple[Any, ...]) -> list[Any]:
        if type(t) not in (_core.Tensor, Parameter):
            raise TypeError(
                f"save: {_shown(path)} is of type {_type_name(type(t))}, a subclass of Tensor; save its detach()"
            )
        tag = "parameter" if type(t) is Parameter else "tensor"
        place = (t.data_ptr(), t.shape, t.stride(), t.dtype) if t.numel() else id(t)
        name = self._names.get(place)
        if name is None or self._every_key:
            data = t.detach().contiguous().reshape(-1).view(_core.uint8).numpy()
            added = self._add(path, _Entry(_CODES[t.dtype], tuple(t.shape), t.element_size(), data))
            name = self._names.setdefault(place, added)
        return [tag, name, t.requires_grad] if t.requires_grad != (tag == "parameter") else [tag, name]

    def _add(self, path: tuple[Any, ...], entry: _Entry) -> str:
        wanted = ".".join(map(str, path)).encode("utf-8", "backslashreplace").decode()
        name, count = wanted, 1
        while name in self.entries or name == "__metadata__":  # which the format keeps for itself
            count += 1
            name = f"{wanted}#{count}"
        self.entries[name] = entry
        return name


class _Whole:
    """The way back: `decode` builds what `_Parts` took apart."""

    def __init__(self, entries: dict[str, Any], file: str) -> None:
        self._entries = entries
        self._file = file
        self._made: dict[Any, Any] = {}

    def decode(self, node: Any) -> Any:
        if not isinstance(node, list):
            return node
        tag, *items = node
        if tag in _OF_ITEMS:
            return _OF_ITEMS[tag]([self.decode(item) for item in items])
        if tag in _OF_TEXT:
            return _OF_TEXT[tag](*items)
        if tag == "array":
            return self._once(("array", items[0]), lambda: self.array(items[0]))
        name, *grad = items
        values = self._once(name, lambda: self.tensor(name))
        return self._once(tuple(node), lambda: _OF_TENSOR[tag](values, *grad))

    def _once(self, key: Any, make: Callable[[], Any]) -> Any:
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def tensor(self, name: str) -> Any:
        """The entry as a tensor with memory of its own."""
        dtype = self._entries[name]["dtype"]
        if dtype not in _TENSORS:
            raise DTypeError(
                f"load: {self._file} has the tensor {name!r} of dtype {dtype}, which unspool does not have; it has "
                f"{', '.join(_TENSORS)}"
            )
        return _core.from_numpy(self._bytes(name)).view(_TENSORS[dtype]).reshape(self._entries[name]["shape"]).clone()

    def array(self, name: str) -> Any:
        """The entry as a NumPy array."""
        return self._bytes(name).view(_ARRAYS[self._entries[name]["dtype"]]).reshape(self._entries[name]["shape"])

    def _bytes(self, name: str) -> Any:
        entry = self._entries[name]
        data = np.frombuffer(entry["data"], np.uint8)
        return (data != 0).view(np.uint8) if entry["dtype"] == "BOOL" else data  # no byte but 0 and 1 is a bool


def _pairs(items: list[Any]) -> dict[Any, Any]:
    return dict(zip(items[::2], items[1::2], strict=True))


def _state_dict(items: list[Any]) -> Any:
    made: Any = OrderedDict(_pairs(items[1:]))
    made._metadata = items[0]
    return made


_OF_ITEMS: dict[str, Callable[[list[Any]], Any]] = {
    "list": list,
    "tuple": tuple,
    "Size": _core.Size,
    "dict": _pairs,
    "OrderedDict": lambda items: OrderedDict(_pairs(items)),
    "Counter": lambda items: Counter(_pairs(items)),
    "state_dict": _state_dict,
}
_OF_TEXT: dict[str, Callable[..., Any]] = {
    "int": lambda digits: int(digits, 16),
    "float": lambda digits: struct.unpack(">d", bytes.fromhex(digits))[0],
    "scalar": lambda dtype, digits: np.frombuffer(bytes.fromhex(digits), dtype)[0],
}
_OF_TENSOR: dict[str, Callable[..., Any]] = {
    "tensor": lambda t, requires_grad=False: t.detach().requires_grad_() if requires_grad else t,
    "parameter": Parameter,
}


def _shown(path: tuple[Any, ...]) -> str:
    return "obj" + "".join(f"[{key!r}]" for key in path)


def _type_name(kind: type) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _hint(value: Any) -> str:
    if hasattr(value, "state_dict"):
        return "; save its state_dict()"
    base = next((b for b in (dict, list, tuple, str, int, float) if isinstance(value, b)), None)
    return f"; turn it into a plain {base.__name__}" if base else ""
