"""Memory shared with others: DLPack both ways, the buffer protocol, frombuffer, asarray, and 0-d tensors as numbers."""

from __future__ import annotations

import gc
import math
from typing import Any

import numpy as np
import pytest

import unspool

DTYPES = ("float32", "float64", "int64", "int32", "uint8", "bool")


def some(dtype: str, shape: tuple[int, ...] = (2, 3)) -> Any:
    return unspool.arange(math.prod(shape)).reshape(shape).to(getattr(unspool, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (2, 0, 3), (2, 3, 4)])
def test_dlpack_shares_memory_with_numpy(dtype: str, shape: tuple[int, ...]) -> None:
    t = some(dtype, shape)
    a = np.from_dlpack(t)
    assert a.dtype == dtype
    assert a.shape == shape
    assert a.tolist() == t.tolist()
    back = unspool.from_dlpack(np.arange(math.prod(shape)).reshape(shape).astype(dtype))
    assert back.tolist() == t.tolist()
    if t.numel():
        t.fill_(1)
        assert (a == 1).all()


def test_dlpack_keeps_strides_offsets_and_lifetimes() -> None:
    a = np.arange(24.0).reshape(4, 6)
    t = unspool.from_dlpack(a[1:, ::2])
    assert t.stride() == (6, 2)
    t[0, 0] = -1
    assert a[1, 0] == -1
    view = np.from_dlpack(t.t())
    del t
    gc.collect()
    assert view.tolist() == a[1:, ::2].T.tolist()


def test_dlpack_with_pytorch() -> None:
    torch = pytest.importorskip("torch")
    for dtype in DTYPES:
        t = some(dtype)
        theirs = torch.from_dlpack(t)
        assert theirs.tolist() == t.tolist()
        assert str(theirs.dtype) == str(t.dtype)
        ours = unspool.from_dlpack(torch.arange(6).reshape(2, 3).to(getattr(torch, dtype)).t())
        assert ours.tolist() == t.t().tolist()
        assert ours.stride() == (1, 3)
    x = torch.zeros(3)
    unspool.utils.dlpack.from_dlpack(torch.utils.dlpack.to_dlpack(x))[1] = 5
    assert x.tolist() == [0, 5, 0]
    assert torch.utils.dlpack.from_dlpack(unspool.utils.dlpack.to_dlpack(unspool.ones(2))).tolist() == [1, 1]


def test_dlpack_refuses() -> None:
    capsule = unspool.utils.dlpack.to_dlpack(unspool.ones(2))
    unspool.from_dlpack(capsule)
    with pytest.raises(RuntimeError, match="taken"):
        unspool.from_dlpack(capsule)
    with pytest.raises(TypeError, match="int"):
        unspool.from_dlpack(3)
    with pytest.raises(BufferError, match="detach"):
        unspool.ones(2, requires_grad=True).__dlpack__()
    with pytest.raises(RuntimeError, match="dtype"):
        unspool.from_dlpack(np.ones(2, dtype=np.complex64))
    with pytest.raises(ValueError, match="strides"):
        unspool.from_dlpack(np.ones(4)[::-1])
    assert unspool.ones(2).__dlpack_device__() == (1, 0)
    readonly = np.ones(2)
    readonly.flags.writeable = False
    with pytest.raises(RuntimeError, match="read-only"):
        unspool.from_dlpack(readonly).fill_(2)
    assert readonly.tolist() == [1, 1]
    copied = unspool.from_dlpack(readonly, copy=True)
    copied.fill_(2)
    assert readonly.tolist() == [1, 1]


@pytest.mark.parametrize("dtype", DTYPES)
def test_buffers(dtype: str) -> None:
    t = some(dtype)
    with memoryview(t) as m:
        assert m.shape == (2, 3)
        assert m.tolist() == t.tolist()
        assert not m.readonly
    assert bytes(t) == t.numpy().tobytes()
    assert memoryview(t.t()).strides == (t.element_size(), 3 * t.element_size())


def test_buffers_write_and_refuse() -> None:
    t = unspool.zeros(3)
    m = memoryview(t)
    m[1] = 5.0
    assert t.tolist() == [0, 5, 0]
    del t
    gc.collect()
    assert m.tolist() == [0, 5, 0]
    with pytest.raises(BufferError, match="detach"):
        memoryview(unspool.ones(2, requires_grad=True))
    with pytest.raises((BufferError, ValueError), match="contiguous"):
        np.frombuffer(unspool.ones(2, 3).t(), np.float32)  # asks for one run of bytes


def test_frombuffer() -> None:
    data = bytearray(np.arange(6, dtype=np.float32).tobytes())
    t = unspool.frombuffer(data, dtype=unspool.float32)
    t[0] = 9
    assert np.frombuffer(data, np.float32)[0] == 9
    assert unspool.frombuffer(data, dtype=unspool.float32, count=2, offset=4).tolist() == [1, 2]
    for kwargs, match in (
        ({"offset": 100}, "100"),
        ({"offset": 3}, "multiple"),
        ({"count": 0}, "count"),
        ({"count": 7}, "7"),
    ):
        with pytest.raises(ValueError, match=match):
            unspool.frombuffer(data, dtype=unspool.float32, **kwargs)
    with pytest.raises(TypeError, match="dtype"):
        unspool.frombuffer(data, dtype="float32")


def test_asarray() -> None:
    a = np.arange(3.0)
    t = unspool.asarray(a)
    t[0] = 7
    assert a[0] == 7
    assert unspool.asarray(t) is not None
    assert unspool.asarray(t, copy=True).data_ptr() != t.data_ptr()
    assert unspool.asarray([1, 2]).dtype == unspool.int64
    assert unspool.asarray(1.5).shape == ()
    with pytest.raises(ValueError, match="alias"):
        unspool.asarray([1, 2], copy=False)
    with pytest.raises(ValueError, match="dtype"):
        unspool.asarray(a, dtype=unspool.float32, copy=False)


def test_numpy_reads_tensors_as_pytorchs() -> None:
    t = unspool.tensor([1.0, 2.0])
    a = np.zeros(3)
    a[0] = unspool.tensor(2.5)
    a[1:] = t
    assert a.tolist() == [2.5, 1.0, 2.0]
    assert np.asarray(t, dtype=np.float64).dtype == np.float64
    assert np.array(t, copy=True).base is None
    with pytest.raises(RuntimeError, match="detach"):
        np.asarray(unspool.ones(2, requires_grad=True))
    one = unspool.tensor(3)
    assert list(range(one)) == [0, 1, 2]
    assert math.sqrt(unspool.tensor(4.0)) == 2.0
    assert f"{unspool.tensor(1.23456):.2f}" == "1.23"
    assert float(one) == 3.0
    assert int(unspool.tensor(2.7)) == 2
    assert [10, 20, 30, 40][one] == 40
    with pytest.raises(TypeError, match="integer"):
        range(unspool.tensor(1.5))


def test_exchange_leaves_nothing_behind() -> None:
    t = unspool.ones(1000)
    before = unspool.memory_stats()["live_bytes"]
    for _ in range(2000):
        np.from_dlpack(t)
        unspool.from_dlpack(np.ones(4))
        memoryview(t)
        t.__dlpack__()
    assert unspool.memory_stats()["live_bytes"] - before < 1 << 16
