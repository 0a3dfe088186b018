"""NumPy arrays and tensors: shared memory both ways, lifetimes, conversion, and arithmetic that mixes them."""

from __future__ import annotations

import gc
import math
import sys
import warnings
import weakref
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import unspool

_DTYPES = [np.bool_, np.uint8, np.int32, np.int64, np.float32, np.float64]


@pytest.mark.parametrize("dtype", _DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (4,), (2, 3), (2, 0), (2, 1, 3)])
def test_from_numpy_shares_memory(dtype: Any, shape: tuple[int, ...]) -> None:
    array = np.ones(shape, dtype)
    t = unspool.from_numpy(array)
    assert str(t.dtype) == f"torch.{np.dtype(dtype).name}"
    assert tuple(t.shape) == shape
    assert not t.requires_grad
    assert t.is_leaf
    if array.size:
        assert t.data_ptr() == array.ctypes.data
        array[...] = 0
        assert not t.any().item()
        t.fill_(1)
        assert array.all()
    back = t.numpy()
    assert back.dtype == array.dtype
    assert back.shape == shape
    assert np.shares_memory(back, array) or not array.size


@pytest.mark.parametrize("dtype", _DTYPES)
def test_numpy_shares_memory(dtype: Any) -> None:
    t = unspool.ones(2, 3, dtype=getattr(unspool, np.dtype(dtype).name))
    array = t.numpy()
    assert array.dtype == dtype
    assert array.ctypes.data == t.data_ptr()
    array[0, 1] = 0
    assert t[0, 1].item() == 0
    t[1, 2] = 0
    assert array[1, 2] == 0
    assert t.t().numpy().strides == array.T.strides
    assert t[:, ::2].numpy().strides == array[:, ::2].strides
    assert t[0, 0].numpy().shape == ()
    assert unspool.tensor(2.0).expand(3, 2).numpy().strides == (0, 0)


def test_strided_arrays_are_shared() -> None:
    array = np.arange(24.0).reshape(2, 3, 4)
    for view in (array.T, array[:, 1], array[:, ::2, 1:], array.transpose(2, 0, 1), array[1, 1, 1:2], array[..., None]):
        t = unspool.from_numpy(view)
        assert t.tolist() == view.tolist()
        assert t.stride() == tuple(step // 8 for step in view.strides)
        assert (t + 0).tolist() == view.tolist()
    unspool.from_numpy(array[:, 1]).mul_(-1)
    assert (array[:, 1] <= 0).all()
    assert array[:, 0].min() == 0.0
    fortran = unspool.from_numpy(np.asfortranarray(array))
    assert fortran.tolist() == array.tolist()
    field = np.zeros(3, [("x", "f4"), ("y", "f4")])
    unspool.from_numpy(field["y"]).fill_(2)
    assert field.tolist() == [(0.0, 2.0)] * 3


def test_a_reversed_array_is_refused_and_copied() -> None:
    array = np.arange(4.0)[::-1]
    with pytest.raises(ValueError, match="negative"):
        unspool.from_numpy(array)
    with pytest.raises(ValueError, match="negative"):
        unspool.as_tensor(array)
    assert unspool.tensor(array).tolist() == [3.0, 2.0, 1.0, 0.0]
    assert unspool.from_numpy(np.arange(1.0)[::-1]).tolist() == [0.0]


def test_a_read_only_array() -> None:
    array = np.arange(3.0)
    array.flags.writeable = False
    with pytest.warns(UserWarning, match="not writable"):
        t = unspool.from_numpy(array)
    assert (t + 1).tolist() == [1.0, 2.0, 3.0]
    for write in ("t.add_(1)", "t.zero_()", "t[0] = 1.0", "t.copy_(t + 1)", "t[1:].mul_(2)", "t.detach().fill_(0)",
                  "t.data.fill_(0)", "t.view(3, 1).relu_()", "t.uniform_()"):  # fmt: skip
        with pytest.raises(RuntimeError, match="read-only"):
            exec(write, {"t": t})
    assert array.tolist() == [0.0, 1.0, 2.0]
    assert not t.numpy().flags.writeable
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        copy = unspool.tensor(array)
        unspool.as_tensor(array).add_(1)
        copy.add_(1)
        t.clone().add_(1)
    assert array.tolist() == [0.0, 1.0, 2.0]


def test_as_tensor_shares_where_it_can() -> None:
    array = np.arange(3.0)
    assert unspool.as_tensor(array).data_ptr() == array.ctypes.data
    assert unspool.as_tensor(array, dtype=unspool.float32).data_ptr() != array.ctypes.data
    t = unspool.tensor([1.0])
    assert unspool.as_tensor(t) is t
    assert unspool.tensor(array).data_ptr() != array.ctypes.data


def test_the_array_lives_as_long_as_the_tensor() -> None:
    class Array(np.ndarray):
        """An array that can be watched."""

    array = np.arange(1000.0).view(Array)
    watch = weakref.ref(array)
    t = unspool.from_numpy(array)
    part = t[10:20]
    count = sys.getrefcount(array)
    del array, t
    gc.collect()
    assert watch() is not None
    assert part.tolist() == list(map(float, range(10, 20)))
    assert sys.getrefcount(watch()) <= count
    del part
    gc.collect()
    assert watch() is None


def test_the_tensor_lives_as_long_as_the_array() -> None:
    unspool.empty_cache()
    before = unspool.memory_stats()["live_bytes"]
    array = unspool.arange(100_000.0).numpy()
    part = array[5:8]
    del array
    gc.collect()
    others = [unspool.full((100_000,), -1.0) for _ in range(4)]
    assert part.tolist() == [5.0, 6.0, 7.0]
    assert unspool.memory_stats()["live_bytes"] >= before + 5 * 400_000
    del part, others
    gc.collect()
    assert unspool.memory_stats()["live_bytes"] == before


def test_setting_data_leaves_exported_memory_alone() -> None:
    t = unspool.arange(50_000.0)
    array = t.numpy()
    t.data = unspool.zeros(3)
    others = [unspool.full((50_000,), -1.0) for _ in range(4)]
    assert array[:3].tolist() == [0.0, 1.0, 2.0]
    assert array[-1] == 49_999.0
    del others


def test_a_tensor_that_requires_grad() -> None:
    w = unspool.tensor([1.0, 2.0], requires_grad=True)
    for convert in (lambda: w.numpy(), lambda: np.asarray(w), lambda: (w * 2).numpy(), lambda: w.__array__(),
                    lambda: np.add(w, 1.0), lambda: np.array([w])):  # fmt: skip
        with pytest.raises(RuntimeError, match="detach"):
            convert()
    assert w.detach().numpy().tolist() == [1.0, 2.0]
    assert w.numpy(force=True).tolist() == [1.0, 2.0]
    assert w.data.numpy().ctypes.data == w.data_ptr()
    with unspool.no_grad():
        assert (w * 2).numpy().tolist() == [2.0, 4.0]


def test_asarray_and_array() -> None:
    t = unspool.tensor([[1.5, -2.0], [0.0, 3.0]])
    shared = np.asarray(t)
    assert shared.ctypes.data == t.data_ptr()
    assert np.asanyarray(t).ctypes.data == t.data_ptr()
    copied = np.array(t, copy=True)
    assert copied.ctypes.data != t.data_ptr()
    assert np.array(t).ctypes.data != t.data_ptr()
    assert np.array(t, copy=False).ctypes.data == t.data_ptr()
    assert np.asarray(t, dtype=np.int32).tolist() == [[1, -2], [0, 3]]
    assert np.asarray(t, dtype=np.float64).dtype == np.float64
    assert np.asarray(t, dtype=np.float32).ctypes.data == t.data_ptr()
    assert t.__array__().ctypes.data == t.data_ptr()
    assert t.__array__(np.float64).dtype == np.float64
    assert t.__array__(dtype=np.float32, copy=True).ctypes.data != t.data_ptr()
    assert t.__array__(copy=False).ctypes.data == t.data_ptr()
    with pytest.raises(ValueError, match="copy"):
        np.array(t, dtype=np.float64, copy=False)
    assert np.stack([t, t]).shape == (2, 2, 2)
    assert np.concatenate([t, t]).shape == (4, 2)
    assert np.asarray([t[0, 0], t[1, 1]]).tolist() == [1.5, 3.0]


def test_numbers_for_numpy_and_python() -> None:
    s, i = unspool.tensor(4.0), unspool.tensor(3)
    array = np.zeros(3)
    array[0] = s
    array[i - 1] = i
    array[1:2] = unspool.tensor([7.0])
    assert array.tolist() == [4.0, 7.0, 3.0]
    assert array[i - 2] == 7.0
    assert math.sqrt(s) == 2.0
    assert list(range(i)) == [0, 1, 2]
    assert np.ones(i).shape == (3,)
    assert np.float64(s) == 4.0
    assert np.int64(i) == 3
    assert float(np.float32(s)) == 4.0
    assert np.isclose(s, 4.0)
    np.testing.assert_allclose(unspool.ones(2), np.ones(2))


_MIXED = """
np.float32(2) * t | np.float64(2) * t | np.int64(2) * t | np.bool_(True) * t | np.float64(3) - t | np.float64(1) / t
np.float64(2) ** t | t * np.float32(2) | t + np.float64(2) | t - np.int64(2) | t / np.float64(2) | t ** np.float64(2)
i * np.float64(2) | np.float64(2) * i | i + np.int64(1) | np.int64(7) - i | i // np.int64(2) | np.float32(2) < t
t < np.float32(2) | np.float64(2) == t | t != np.float32(1) | s * np.float64(2) | np.float64(2) * s | np.float32(1) + s
t * f64 | t - f64 | t / f64 | f64 / t | t == f64 | f64 == t | t @ f64 | t * f32 | t + f32 | i * i64 | i + i64
t * f64[0] | np.add(t, f64) | np.add(f64, t) | np.multiply(t, f32) | np.sin(t) | np.exp(t) | np.maximum(t, 1.5)
np.sqrt(s) | np.add(i, i64) | np.multiply(i, t)
""".strip()
_EXPRESSIONS = [code for line in _MIXED.splitlines() for code in line.split(" | ")]


def _names(t: ModuleType) -> dict[str, Any]:
    return {
        "np": np,
        "t": t.tensor([1.0, 2.0]),
        "i": t.tensor([1, 2]),
        "s": t.tensor(2.25),
        "f64": np.array([1.0, 4.0]),
        "f32": np.array([1.0, 4.0], np.float32),
        "i64": np.array([3, 4]),
    }


@pytest.mark.filterwarnings("ignore:__array_wrap__")  # PyTorch's has the old signature
@pytest.mark.parametrize("code", _EXPRESSIONS)
def test_mixed_arithmetic_as_in_pytorch(torch: ModuleType, code: str) -> None:
    expected = eval(code, _names(torch))
    found = eval(code, _names(unspool))
    assert type(found) is unspool.Tensor
    assert found.dtype.is_floating_point == expected.dtype.is_floating_point
    assert str(found.dtype) == str(expected.dtype)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-6)


@pytest.mark.parametrize("code", ["f64 * t", "f64 - t", "f32 + t", "i64 * i", "t < f64", "f64 <= t", "m @ f64"])
def test_arrays_stand_on_either_side(code: str) -> None:
    names = {**_names(unspool), "m": unspool.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=unspool.float64)}
    found = eval(code, names)
    assert type(found) is unspool.Tensor
    arrays = {k: v.numpy() if isinstance(v, unspool.Tensor) else v for k, v in names.items()}
    np.testing.assert_allclose(found.numpy(), eval(code, arrays), rtol=1e-6)


def test_comparisons_by_numpy_give_bool() -> None:
    found = np.greater(unspool.tensor([1.0, 2.0]), np.array([1.5, 1.5]))
    assert found.dtype is unspool.bool  # PyTorch makes it uint8, as in its first years
    assert found.tolist() == [False, True]


def test_gradients_flow_through_mixed_arithmetic() -> None:
    w = unspool.tensor([1.0, 2.0], requires_grad=True)
    (np.float32(3) * w * np.float64(2)).sum().backward()
    assert w.grad.tolist() == [6.0, 6.0]
    w.grad = None
    (w * np.array([1.0, 5.0], np.float32)).sum().backward()
    assert w.grad.tolist() == [1.0, 5.0]


def test_repeated_conversions_leak_nothing() -> None:
    array = np.arange(1000.0)
    t = unspool.ones(1000)
    gc.collect()
    count, live = sys.getrefcount(array), unspool.memory_stats()["live_bytes"]
    for _ in range(500):
        unspool.from_numpy(array).numpy()
        unspool.tensor(array)
        np.asarray(t)
        t.numpy()[3:5].copy()
        np.add(t, array)
    gc.collect()
    assert sys.getrefcount(array) == count
    assert unspool.memory_stats()["live_bytes"] == live


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12.0).reshape(3, 4).T,
        np.arange(24.0).reshape(2, 3, 4).transpose(2, 0, 1),
        np.arange(24.0).reshape(4, 6)[::2, ::3],
        np.arange(24.0).reshape(4, 6)[:, ::2].T,
        np.broadcast_to(np.arange(3.0), (2, 3)),
        np.arange(8.0),
    ],
    ids=["transposed", "permuted", "gaps", "gaps transposed", "broadcast", "vector"],
)
def test_a_copy_has_the_order_of_the_arrays_strides(array: np.ndarray, torch: Any) -> None:
    ours, theirs = unspool.tensor(array), torch.tensor(array)
    assert ours.stride() == theirs.stride()
    np.testing.assert_array_equal(ours.numpy(), array)


def test_a_copy_of_an_array_that_no_tensor_can_share() -> None:
    assert unspool.tensor(np.arange(6.0).reshape(2, 3)[::-1].T).tolist() == [[3.0, 0.0], [4.0, 1.0], [5.0, 2.0]]
    crooked = np.frombuffer(b"123" + np.arange(4, dtype=np.float32).tobytes(), dtype=np.uint8)[3:].view(np.float32)
    assert crooked.ctypes.data % 4 != 0
    assert unspool.tensor(crooked).tolist() == [0.0, 1.0, 2.0, 3.0]
