"""Tensors: creation, values, conversion, indexing, sizes and dtypes, expression by expression as in PyTorch.

Most tests evaluate one expression in both libraries and compare type, dtype, shape, flags and values, or the
type of the exception. What can be said without PyTorch stands at the end, and runs without it.
"""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import unspool
from tolerances import assert_close

_CREATION = """
tensor(3) | tensor(2.5) | tensor(True) | tensor([]) | tensor([[]]) | tensor([[], []]) | tensor(()) | tensor([1, 2, 3])
tensor([1, 2.5]) | tensor([True, 2]) | tensor([True, 2.0]) | tensor([True, False]) | tensor([[1, 2], [3, 4]])
tensor([(1, 2), (3, 4)]) | tensor(((1.0,), (2.0,))) | tensor([[[1], [2]], [[3], [4]]]) | tensor(range(4))
tensor([0.1]) | tensor(-0.0) | tensor([float('nan'), float('inf'), -float('inf')]) | tensor(1e40) | tensor(1e-50)
tensor(2**63 - 1) | tensor(-2**63) | tensor(2**53 + 1, dtype=float64) | tensor(2**24 + 1, dtype=float32)
tensor(2**100, dtype=float64) | tensor(2.7, dtype=int64) | tensor(-2.7, dtype=int64)
tensor([0.0, 0.5, nan], dtype=bool) | tensor(-1, dtype=uint8) | tensor(255, dtype=uint8)
tensor([3, 4], dtype=float32) | tensor(True, dtype=int32) | tensor([1.5], dtype=float64) | tensor(np.float32(2))
tensor(np.float64(2)) | tensor(np.int32(2)) | tensor(np.int64(2)) | tensor(np.bool_(True)) | tensor(np.uint8(200))
tensor([np.float64(2)]) | tensor([np.float32(2)]) | tensor([np.float32(2), 1.0]) | tensor([np.float64(2), 1.0])
tensor([np.int32(2), 3]) | tensor([np.int32(2)]) | tensor([np.bool_(True), 2.0]) | tensor(np.array(3.0))
tensor(np.array(3)) | tensor(np.ones((2, 3))) | tensor(np.ones((2, 3), np.float32))
tensor(np.arange(6).reshape(2, 3).T) | tensor(np.zeros((0, 3))) | tensor([np.ones(2), np.zeros(2)])
tensor([np.ones(2, np.float32)]) | tensor(np.ones(2), dtype=float32) | tensor([tensor(1.0), tensor(2.0)])
tensor([tensor(1), 2.5]) | tensor([tensor(1.0, dtype=float64)]) | tensor([1.0], requires_grad=True)
tensor(1.0, dtype=float64, requires_grad=True) | tensor(1.0, device='cpu') | tensor([1.0], device=device('cpu'))
tensor(bytearray(b'ab')) | tensor(memoryview(b'ab')) | as_tensor([1, 2]) | as_tensor([1.0, 2]) | as_tensor(3.5)
as_tensor([1, 2], dtype=float64) | Tensor(2, 3).shape | Tensor([1, 2]) | Tensor([[1.5]]) | Tensor(tensor([1.0]))
Tensor().shape | zeros(3) | zeros(2, 3) | zeros((2, 3)) | zeros([2, 3]) | zeros(()) | zeros(0) | zeros(2, 0, 3)
zeros(Size([2, 2])) | zeros(2, dtype=int64) | zeros(2, dtype=bool) | zeros(2, requires_grad=True)
zeros(2, device='cpu', dtype=float64) | zeros(tensor(2), 3) | zeros(size=(2,)) | zeros(np.int64(2)) | ones(2, 3)
ones(2, dtype=bool) | ones(()) | ones(3, dtype=uint8) | full((2,), 3) | full((2,), 3.5) | full((2,), True)
full((), 2) | full((2,), 3, dtype=float64) | full([2, 1], nan) | full((2,), 1.5, requires_grad=True)
full(size=(2,), fill_value=7) | empty(2, 3).shape | empty((0,)) | empty(2, dtype=bool).dtype | arange(5) | arange(5.0)
arange(1, 5) | arange(1, 5, 2) | arange(5, 1, -2) | arange(0, 1, 0.25) | arange(0.5, 3) | arange(3, dtype=float64)
arange(0) | arange(3, 3) | arange(end=3) | arange(start=1, end=3) | arange(1, 2, 0.1) | arange(3, requires_grad=False)
arange(3.0, requires_grad=True) | arange(-3, 3) | arange(0, 10, 3, dtype=int32) | linspace(0, 1, 5)
linspace(0, 1, 1) | linspace(0, 1, 0) | linspace(0, 10, 11, dtype=float64) | linspace(0, 1, 3, requires_grad=True)
eye(3) | eye(2, 3) | eye(3, 2) | eye(0) | eye(2, dtype=int64) | eye(2, dtype=bool) | eye(2, requires_grad=True)
zeros_like(a) | ones_like(a) | ones_like(i) | full_like(a, 2) | full_like(i, 7) | empty_like(a).shape
zeros_like(i, dtype=float64) | ones_like(a, requires_grad=True) | zeros_like(a.t()) | zeros_like(s)
rand_like(a).shape | randn_like(a).dtype | randperm(0) | randint(3, (0,))
"""

_VALUES = """
s.item() | i[0, 0].item() | m[0, 0].item() | tensor([[5.0]]).item() | a.tolist() | i.tolist() | m.tolist()
s.tolist() | e.tolist() | float(s) | int(s) | int(tensor(-2.7)) | bool(s) | bool(tensor(0.0)) | bool(tensor([0]))
float(i[1, 1]) | float(tensor([5.0])) | complex(s) | i0.__index__() | tensor([3]).__index__()
tensor(True).__index__() | [1, 2, 3][i0] | list(range(i0)) | hex(tensor(255)) | math.sqrt(tensor(4.0)) | math.floor(s)
math.ceil(s) | len(a) | len(e) | list(v) | [r.tolist() for r in a] | [x.item() for x in v] | list(e) | tuple(i)[0]
2.0 in v | a[0, 0] in a | 99 in i | v in [v] | s.item() in a | f'{s}' | f'{s:.3f}' | f'{s:8.2e}|' | f'{i0:5d}|'
f'{i0}' | '{:.1f}'.format(s) | '%.2f' % s | '%d' % i0 | f'{a}' | f'{tensor([1])}' | str(s) | repr(v)
f'{tensor(True)}' | f'{a:}' | format(s, '.2%') | hash(v) == hash(v) | len({v: 1, a: 2}) | {v: 3}[v] | a.dim() | a.ndim
a.numel() | a.nelement() | s.dim() | e.numel() | a.element_size() | i.element_size() | m.element_size() | a.itemsize
a.nbytes | a.is_contiguous() | a.t().is_contiguous() | a.storage_offset() | a[1].storage_offset()
a.is_floating_point() | i.is_floating_point() | is_tensor(a) | is_tensor([]) | a.size() | a.size(0) | a.size(-1)
a.size(dim=1) | s.size() | a.stride() | a.stride(0) | a.stride(-1) | a.stride(dim=0) | a.t().stride() | s.stride()
s.size(0) | s.stride(0) | a.size(5) | e.stride() | a.shape | a.is_leaf | a.grad | a.device | a.requires_grad
w.requires_grad | (w * 2).requires_grad | (w * 2).is_leaf | w.is_leaf | a.is_cuda | a.is_sparse | v == None
v != None | v == 'x' | v == [1.0] | (v is v) | a.detach().requires_grad | w.detach().is_leaf | w.data.requires_grad
bool(a) | bool(e) | float(a) | int(a) | a.item() | e.item() | len(s) | list(s) | s.__index__() | v.__index__()
hex(s) | f'{a:.2f}' | v < None | v + None | v + 'a' | v + [1.0] | float(w.sum()) > -100 | +v | -v | abs(-v) | ~i | ~m
"""

_CONVERSION = """
a.to(float64) | a.to(int64) | a.to(dtype=float64) | a.to('cpu') | a.to(device='cpu') | a.to('cpu', float64) | a.to(i)
a.to(a.double()) | a.to('cpu', non_blocking=True) | a.to(float64, copy=True) | a.to(device('cpu'), int32)
a.to(float32) is a | a.to('cpu') is a | a.to(float32, copy=True) is a | a.to() is a | a.float() is a | a.double()
a.long() | a.int() | a.bool() | a.byte() | i.float() | m.float() | m.long() | tensor(300).byte() | tensor(-1).byte()
tensor([0.9, -0.9]).int() | tensor([1.0, 0.0, nan]).bool() | a.type() | i.type() | m.type() | a.double().type()
a.int().type() | a.byte().type() | a.type(float64) | a.type('torch.LongTensor') | a.type_as(i) | a.cpu() is a
w.to(float64) | w.double().is_leaf | i.to(float32).requires_grad | a.T | a.t() | i.T | v.t() | s.t() | a.mT | a.t().T
a.view(3, 2) | a.view(-1) | a.reshape(3, -1) | a.view_as(a.reshape(3, 2)) | a.reshape_as(a.t()) | v.expand_as(a)
a.unbind() | a.unbind(1) | a.contiguous() is a | a.t().contiguous() | a.clone() | a.requires_grad_()
a.clone().requires_grad_(True) | a.clone().requires_grad_(requires_grad=False) | a.flatten() | s.reshape(1)
s.view(1, 1) | v.unsqueeze(0) | a.unsqueeze(-1).squeeze(-1) | a.to('x') | i.requires_grad_() | a.type('Half')
"""

_READING = """
x[0] | x[-1] | x[1, 2] | x[1, 2, 3] | x[-2, -3, -4] | x[0:1] | x[:] | x[1:] | x[:-1] | x[::2] | x[:, 1] | x[:, :, 1]
x[:, 1:3, ::2] | x[..., 0] | x[0, ...] | x[...] | x[..., 1:, :] | x[0, ..., 0] | x[None] | x[:, None] | x[..., None]
x[None, 0, None, ..., None] | x[0:0] | x[5:] | x[1:100] | x[-100:1] | x[2:1] | x[:, ::3] | x[0][1][2] | x[()] | x[i0]
x[i0, i0] | x[tensor(-1)] | x[i0:] | x[:i0] | x[np.int64(1)] | x[::5] | x[1, :, None, 2] | s[()] | s[...] | s[None]
s[..., None] | e[0:0] | e[:, 0] | e[:, 1:] | x[slice(0, 1)] | x[slice(None, None, 2), 0] | x[..., -1:]
x[:, :, 0].stride() | x[:, 1].storage_offset()| x[2] | x[0, 3] | x[0, 0, -5] | x[0, 0, 0, 0] | s[0] | x[::-1] | x[::0]
x[1.5] | x[tensor(1.5)] | x['a'] | e[0]
"""

# code that writes into x, w or i; the tensor after it is compared
_WRITING = """
x[0] = 1.0 | x[0, 1, 2] = 5 | x[:] = 0 | x[...] = 2.5 | x[:, 1] = 7 | x[..., 0] = tensor(3.0) | x[0] = x[1]
x[1:] = x[:1] | x[:, ::2] = tensor([1.0, 2.0, 3.0, 4.0]) | x[0] = tensor([[1.0], [2.0], [3.0]]) | x[None, 0] = 4.0
x[-1, -1, -1] = True | | x[:, 0] = arange(4) | x[0:0] = 5.0 | x[1, :, None] = 6.0
x[0, 0] = tensor([[[1.0, 2.0, 3.0, 4.0]]]) | x[i0] = -1 | x[0] += 1 | x[:, 1] *= 2 | x[0, 0, 0] -= 0.5
x[0][1][2] = 8.0 | x[0].fill_(3) | x[:, 1].zero_() | x[0].copy_(x[1])| x[0, 1].mul_(x[1, 0]) | x += x | x *= 0.5
x /= 2 | x -= 1 | x **= 2 | x[0] = tensor([1, 2, 3, 4]) | x[0] = tensor(True) | x[0] = x[0, :1] | x.fill_(tensor(2.0))
x.view(-1)[5] = 0 | x[0, :, 0] = x[0, 0, :3] | x[5] = 0 | x[0, 0, 0] = 'a' | x[0] = zeros(5) | x[0, 0] = None
del x[0] | x[0] = zeros(2, 3, 4) | x.add_(zeros(2, 2, 3, 4)) | x.copy_(zeros(5))
"""

_SIZES = """
Size([2, 3]) | Size((2, 3)) | Size() | Size([]) | Size([2, 3]) == (2, 3) | (2, 3) == Size([2, 3]) | Size([2]) != (3,)
Size([2, 3])[0] | Size([2, 3])[-1] | Size([2, 3])[1:] | Size([2, 3])[::-1] | Size([2, 3]) + (4,) | (4,) + Size([2, 3])
Size([2, 3]) + Size([1]) | Size([2, 3]) * 2 | 2 * Size([2]) | Size([2, 3]).numel() | Size([]).numel()
Size([0, 5]).numel() | len(Size([2, 3])) | 3 in Size([2, 3]) | list(Size([2, 3])) | tuple(Size([2, 3]))
repr(Size([2, 3])) | str(Size([])) | f'{Size([1])}' | hash(Size([2, 3])) == hash((2, 3)) | {(2, 3): 1}[Size([2, 3])]
isinstance(Size([2]), tuple) | Size([2, 3]).index(3) | Size([2, 2]).count(2) | Size([i0, 2]) | Size(range(3))
a.shape + (1,) | (*a.shape, 5) | zeros(a.shape) | a.view(a.shape) | sum(a.shape) | max(a.shape) | sorted(a.shape)
a.shape == e.shape | a.shape[:-1] | Size([2, 3]) < (2, 4) | a.shape == [2, 3] | Size(3) | Size([2, 'a'])
Size((2.5,)) | Size([2]) + [1] | Size([2, 3])[5] | Size([None]) | float32.is_floating_point | int64.is_floating_point
bool.is_floating_point | float64.itemsize | bool.itemsize | uint8.itemsize | float32.is_complex | uint8.is_signed
int32.is_signed | float32.is_signed | bool.is_signed | repr(float64) | str(bool) | float32 == float32
float32 == float64 | float32 is float | double is float64 | long is int64 | len({float32, float, int64})
a.dtype == float32 | a.dtype is float32 | isinstance(float32, dtype) | get_default_dtype() | device('cpu') == a.device
str(device('cpu')) | repr(device('cpu')) | device('cpu').type | device('cpu').index | isinstance(a.device, device)
hash(device('cpu')) == hash(a.device) | a.device == 'x' | device('cpu') != a.device
"""

_TABLES = {
    "creation": _CREATION,
    "values": _VALUES,
    "conversion": _CONVERSION,
    "reading": _READING,
    "writing": _WRITING,
    "sizes": _SIZES,
}
_LINES = [
    (name, code.strip())
    for name, table in _TABLES.items()
    for line in table.strip().splitlines()
    for code in line.split(" | ")
]


def _names(t: ModuleType) -> dict[str, Any]:
    """What an expression sees: the library's names without prefix, and some tensors."""
    names = {name: getattr(t, name) for name in dir(t) if not name.startswith("_")}
    for python in ("float", "int", "bool", "complex", "abs", "sum", "max", "min", "range", "all", "any", "hash"):
        names.pop(python, None)
    # as dtypes these two names shadow Python's, which the expressions need to call
    names.update(t=t, np=np, math=math, nan=math.nan)
    names["float"], names["bool"] = _Both(float, t.float32), _Both(bool, t.bool)
    names["a"] = t.tensor([[1.5, -2.0, 3.25], [0.0, 4.0, -5.5]])
    names["v"] = t.tensor([1.0, 2.0, 3.0])
    names["s"], names["e"] = t.tensor(2.625), t.empty(0, 3)
    names["i"], names["i0"] = t.arange(6).reshape(2, 3), t.tensor(1)
    names["m"] = names["i"] > 2
    names["w"] = t.tensor([0.5, -1.5], requires_grad=True)
    names["x"] = t.arange(24.0).reshape(2, 3, 4)
    return names


class _Both:
    """Python's `float` and `bool` where called, the library's dtypes elsewhere; `_plain` takes it apart."""

    def __init__(self, call: Any, dtype: Any) -> None:
        self.call, self.dtype = call, dtype

    def __call__(self, *args: Any) -> Any:
        return self.call(*args)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.dtype, name)

    def __repr__(self) -> str:
        return repr(self.dtype)

    def __eq__(self, other: object) -> bool:
        return bool(self.dtype == other)

    def __hash__(self) -> int:
        return hash(self.dtype)


def _plain(value: Any, t: ModuleType) -> Any:
    """Something that compares across the libraries."""
    if isinstance(value, t.Tensor):
        values = value.detach().numpy()
        flags = (value.requires_grad, value.is_leaf, type(value).__name__)
        return "tensor", str(value.dtype), tuple(value.shape), flags, values.dtype.str, repr(values.tolist())
    if isinstance(value, (list, tuple)):
        return type(value).__name__, [_plain(v, t) for v in value]
    return type(value).__name__, repr(value)


def _outcome(code: str, t: ModuleType, statement: bool) -> tuple[Any, Any]:
    names = _names(t)
    # `float` and `bool` as arguments are the dtypes themselves
    for name in ("float", "bool"):
        code = code.replace(f"dtype={name})", f"dtype=t.{name})").replace(f"dtype={name}.", f"dtype=t.{name}.")
        code = code.replace(f"str({name})", f"str(t.{name})").replace(f"is {name}", f"is t.{name}")
    try:
        if statement:
            exec(code, names)
            return _plain([names["x"], names["i"]], t), None
        return _plain(eval(code, names), t), None
    except Exception as error:
        return None, error


@pytest.mark.filterwarnings("ignore")  # PyTorch warns of what it deprecates
@pytest.mark.parametrize(("table", "code"), _LINES, ids=[f"{table}: {code}" for table, code in _LINES])
def test_as_in_pytorch(torch: ModuleType, table: str, code: str) -> None:
    expected, refused = _outcome(code, torch, table == "writing")
    found, error = _outcome(code, unspool, table == "writing")
    if refused is None:
        assert error is None, f"{type(error).__name__}: {error}"
        assert found == expected
    else:
        assert error is not None, f"PyTorch raises {type(refused).__name__}: {refused}"
        assert isinstance(error, (type(refused), RuntimeError, TypeError)) or isinstance(refused, type(error))


# ---- Without PyTorch --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int32, np.int64, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (2, 0, 3), (2, 1, 3, 2)])
def test_creation_from_arrays_and_back(dtype: Any, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    t = unspool.tensor(array)
    assert str(t.dtype) == f"torch.{np.dtype(dtype).name}"
    assert tuple(t.shape) == shape
    assert_close(t.numpy(), array)
    assert t.tolist() == array.tolist()
    if 0 not in shape:
        assert_close(unspool.tensor(array.tolist(), dtype=t.dtype).numpy(), array)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int32", "uint8", "bool"])
@pytest.mark.parametrize("trip", ["pickle", "deepcopy", "copy"])
def test_round_trips(dtype: str, trip: str) -> None:
    t = unspool.arange(6).reshape(2, 3).to(getattr(unspool, dtype)).t()
    made = {
        "pickle": lambda: pickle.loads(pickle.dumps(t)),
        "deepcopy": lambda: copy.deepcopy(t),
        "copy": lambda: copy.copy(t),
    }[trip]()
    assert made is not t
    assert (made.dtype, made.shape, made.requires_grad) == (t.dtype, t.shape, t.requires_grad)
    assert made.tolist() == t.tolist()


def test_round_trips_keep_what_a_leaf_has() -> None:
    w = unspool.tensor([1.0, 2.0], requires_grad=True)
    w.note = {"name": [1, 2]}
    (w * w).sum().backward()
    twin = copy.deepcopy(w)
    assert twin.requires_grad
    assert twin.is_leaf
    assert twin.note == w.note
    assert twin.note is not w.note
    assert twin.grad.tolist() == [2.0, 4.0]
    twin.grad.zero_()
    assert w.grad.tolist() == [2.0, 4.0]
    again = pickle.loads(pickle.dumps(w))
    assert again.requires_grad
    assert again.note == w.note
    pair = copy.deepcopy([w, w])
    assert pair[0] is pair[1]
    for value in (unspool.float32, unspool.bool, unspool.Size([2, 3]), unspool.device("cpu")):
        for made in (pickle.loads(pickle.dumps(value)), copy.deepcopy(value), copy.copy(value)):
            assert made == value
            assert type(made) is type(value)
    assert pickle.loads(pickle.dumps(unspool.int64)) is unspool.int64


def test_more_is_taken_than_by_pytorch() -> None:
    assert unspool.tensor([np.array(1.0), np.array(2.0)]).dtype is unspool.float64
    assert unspool.tensor(np.arange(3)[::-1]).tolist() == [2, 1, 0]
    assert all(type(n) is int for n in unspool.Size([np.int64(4), unspool.tensor(2)]))
    x = unspool.arange(12.0).reshape(3, 4)
    x[0, 0] = np.float32(9)
    x[1] = [1, 2, 3, 4]
    x[2, :2] = np.array([7.0, 8.0])
    assert x.tolist() == [[9.0, 1.0, 2.0, 3.0], [1.0, 2.0, 3.0, 4.0], [7.0, 8.0, 10.0, 11.0]]
    x[:, 1:] = x[:, :-1]  # PyTorch reads what it has just written
    assert x.tolist() == [[9.0, 9.0, 1.0, 2.0], [1.0, 1.0, 2.0, 3.0], [7.0, 7.0, 8.0, 10.0]]


@pytest.fixture
def default_dtype() -> Iterator[None]:
    yield
    unspool.set_default_dtype(unspool.float32)


@pytest.mark.usefixtures("default_dtype")
def test_default_dtype() -> None:
    assert unspool.get_default_dtype() is unspool.float32
    unspool.set_default_dtype(unspool.float64)
    for t in (unspool.tensor(1.0), unspool.zeros(2), unspool.tensor([]), unspool.arange(1.0), unspool.rand(1),
              unspool.tensor([1, 2]) / 2, unspool.tensor([1]) * 0.5, unspool.linspace(0, 1, 2)):  # fmt: skip
        assert t.dtype is unspool.float64
    assert unspool.tensor(1).dtype is unspool.int64
    assert unspool.tensor(np.float32(1)).dtype is unspool.float32


def test_memory_stats() -> None:
    unspool.empty_cache()
    before = unspool.memory_stats()
    assert {"live_bytes", "cached_bytes", "peak_bytes"} <= set(before)
    block = unspool.zeros(1 << 20)
    during = unspool.memory_stats()
    assert during["live_bytes"] - before["live_bytes"] >= 4 << 20
    assert during["peak_bytes"] >= during["live_bytes"]
    del block
    after = unspool.memory_stats()
    assert after["live_bytes"] == before["live_bytes"]
    assert after["cached_bytes"] >= before["cached_bytes"] + (4 << 20)
    unspool.empty_cache()
    assert unspool.memory_stats()["cached_bytes"] <= before["cached_bytes"]
    assert all(value >= 0 for value in unspool.memory_stats().values())


def test_huge_empty_tensors() -> None:
    t = unspool.zeros(2**62, 0, 2**62)
    assert t.numel() == 0
    assert repr(t) == "tensor([], size=(4611686018427387904, 0, 4611686018427387904))"
    assert (t + 1).sum().item() == 0.0
    with pytest.raises(ValueError, match="array is too big"):  # NumPy has no such array
        t.numpy()


def test_views_share_memory_and_versions() -> None:
    x = unspool.arange(6.0).reshape(2, 3)
    row = x[1]
    row[0] = 50.0
    assert x[1, 0].item() == 50.0
    assert x._version == row._version == 1
    assert x.detach()._version == 1
    assert x.data._version == 0
    assert x.data.data_ptr() == x.data_ptr()
    assert row.data_ptr() == x.data_ptr() + 3 * x.itemsize
    assert x[...] is not x


def test_indexing_records_gradients() -> None:
    w = unspool.arange(6.0).reshape(2, 3).requires_grad_()
    (w[0, 1:] * unspool.tensor([2.0, 3.0])).sum().backward()
    assert w.grad.tolist() == [[0.0, 2.0, 3.0], [0.0, 0.0, 0.0]]
    y = w.detach().clone().requires_grad_()
    z = y * 2
    z[0] = 0.0
    z.sum().backward()
    assert y.grad.tolist() == [[0.0] * 3, [2.0] * 3]


@pytest.mark.parametrize("seed", range(30))
def test_random_indices_agree_with_numpy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(1, 5, rng.integers(1, 5)))
    array = rng.standard_normal(shape).astype(np.float32)
    t = unspool.tensor(array)
    for _ in range(20):
        index: list[Any] = []
        for n in shape[: int(rng.integers(0, len(shape) + 1))]:
            kind = int(rng.integers(3))
            bounds = [None if rng.random() < 0.2 else int(b) for b in rng.integers(-n - 1, n + 2, 2)]
            index.append(int(rng.integers(-n, n)) if kind == 0 else slice(*bounds, int(rng.integers(1, 4))))
        if rng.random() < 0.5:
            index.insert(int(rng.integers(len(index) + 1)), None)
        if rng.random() < 0.5:
            index.append(Ellipsis)
        key = tuple(index)
        assert_close(t[key].numpy(), array[key], what=str(key))
        value = float(rng.standard_normal())
        t[key] = value
        array[key] = value
        assert_close(t.numpy(), array, what=str(key))
