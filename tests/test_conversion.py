"""Conversion in every form that PyTorch takes: to, type, type_as, float() and its relatives, the old tensor types,
the default dtype; and the small types Size, device, dtype, memory_format."""

from __future__ import annotations

import copy
import pickle
import warnings
from typing import Any

import pytest

import unspool

torch = pytest.importorskip("torch", reason="PyTorch is the reference for conversion")

NAMES = ("bool", "uint8", "int32", "int64", "float32", "float64")
FORMS: dict[str, Any] = {
    "dtype": lambda m, x: x.to(m.float64),
    "dtype=": lambda m, x: x.to(dtype=m.float64),
    "dtype, non_blocking": lambda m, x: x.to(m.float64, True),
    "dtype, non_blocking, copy": lambda m, x: x.to(m.float32, False, True),
    "same": lambda m, x: x.to(m.float32),
    "copy=": lambda m, x: x.to(m.float32, copy=True),
    "copy= only": lambda m, x: x.to(copy=True),
    "device": lambda m, x: x.to("cpu"),
    "device object": lambda m, x: x.to(m.device("cpu")),
    "device=": lambda m, x: x.to(device="cpu"),
    "device and dtype": lambda m, x: x.to("cpu", m.float64),
    "device, dtype, non_blocking, copy": lambda m, x: x.to("cpu", m.float32, False, True),
    "device= and dtype=": lambda m, x: x.to(device=m.device("cpu"), dtype=m.int64, non_blocking=True),
    "device none": lambda m, x: x.to(None, m.int32),
    "dtype none": lambda m, x: x.to("cpu", None),
    "other": lambda m, x: x.to(m.zeros(1, dtype=m.int64)),
    "tensor=": lambda m, x: x.to(tensor=m.zeros(1, dtype=m.float64)),
    "nothing": lambda m, x: x.to(),
    "other, non_blocking, copy": lambda m, x: x.to(x, True, True),
    "memory_format": lambda m, x: x.to(m.float64, memory_format=m.contiguous_format),
    "preserve": lambda m, x: x.to(memory_format=m.preserve_format),
    "python float": lambda m, x: x.to(float),
    "python int": lambda m, x: x.to(int),
    "python bool": lambda m, x: x.to(bool),
    "type name": lambda m, x: x.type("torch.LongTensor"),
    "type dtype": lambda m, x: x.type(m.float64),
    "type dtype=": lambda m, x: x.type(dtype=m.int32),
    "type class": lambda m, x: x.type(m.DoubleTensor),
    "type non_blocking": lambda m, x: x.type(m.float64, non_blocking=True),
    "type_as": lambda m, x: x.type_as(m.ones(1, dtype=m.uint8)),
    "float": lambda m, x: x.float(),
    "double": lambda m, x: x.double(),
    "int": lambda m, x: x.int(),
    "long": lambda m, x: x.long(),
    "bool": lambda m, x: x.bool(),
    "byte": lambda m, x: x.abs().byte(),
    "float memory_format": lambda m, x: x.double(memory_format=m.preserve_format),
    "clone": lambda m, x: x.clone(memory_format=m.contiguous_format),
    "contiguous": lambda m, x: x.t().contiguous(memory_format=m.contiguous_format),
    "cpu": lambda m, x: x.cpu(),
}


@pytest.mark.parametrize("form", FORMS)
def test_to(form: str) -> None:
    seen = []
    for m in (unspool, torch):
        x = m.tensor([[0.0, -1.75], [2.5, 3.0]], requires_grad=True)
        y = FORMS[form](m, x)
        row = [str(y.dtype), y.tolist(), y is x, y.data_ptr() == x.data_ptr(), y.requires_grad]
        if y.requires_grad and y is not x:
            y.sum().backward()
            row += [x.grad.tolist(), str(x.grad.dtype)]
        seen.append(row)
    assert seen[0] == seen[1]


@pytest.mark.parametrize(
    "call",
    [
        "x.to('float32')", "x.to(m.float32, 'cpu')", "x.to('cpu', 'cpu')", "x.to(x, m.float32)",
        "x.to(dtype='float32')", "x.to(m.float32, dtype=m.float64)",
        "x.to(nothing=1)", "x.to(other=3)", "x.to('cuda:0')",
        "x.to(m.float32, copy=3)", "x.to(m.float32, False, False, None, None)", "x.type('torch.Floats')", "x.type(3)",
        "x.type_as(3)", "x.float(3)", "x.is_contiguous(memory_format=3)", "m.device('gpu')", "m.device(3.5)",
        "m.set_default_dtype(m.int64)", "m.set_default_dtype('float32')", "m.set_default_tensor_type(m.LongTensor)",
        "m.FloatTensor(m.ones(2).long())", "m.FloatTensor('a')", "m.Size(['a'])", "x.clone(memory_format='a')",
    ],
)  # fmt: skip
def test_what_is_refused(call: str) -> None:
    for m in (torch, unspool):
        x = m.ones(2, 2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pytest.raises((TypeError, RuntimeError, ValueError, AttributeError, AssertionError)):
                eval(call, {"m": m, "x": x})
    assert unspool.get_default_dtype() == unspool.float32


def test_every_conversion_of_special_values() -> None:
    values = [0.0, -0.0, 1.0, -1.0, 1.5, -1.5, 2.5, 100.25, 255.0]
    for a in NAMES:
        for b in NAMES:
            found = []
            for m in (unspool, torch):
                row = [abs(v) if a == "uint8" else v for v in values]
                if b == "uint8":
                    row = [abs(v) for v in row]
                found.append(m.tensor(row).to(getattr(m, a)).to(getattr(m, b)).tolist())
            assert found[0] == found[1], (a, b)


def test_old_tensor_types() -> None:
    for m in (unspool, torch):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            x = m.FloatTensor([1, 2, 3])
            assert x.dtype == m.float32
            assert x.tolist() == [1, 2, 3]
            assert m.LongTensor([[1, 2]]).dtype == m.int64
            assert tuple(m.DoubleTensor(2, 3).shape) == (2, 3)
            assert m.BoolTensor([0, 1]).tolist() == [False, True]
            assert m.IntTensor(x.int()).tolist() == [1, 2, 3]
            assert m.FloatTensor(x) is not x
            assert m.ByteTensor().numel() == 0
            assert isinstance(x, m.FloatTensor)
            assert not isinstance(x, m.DoubleTensor)
            assert x.type() == "torch.FloatTensor"
            assert m.typename(x) == "torch.FloatTensor"


def test_default_dtype() -> None:
    seen = []
    for m in (unspool, torch):
        row = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                for way, name in enumerate((m.float64, m.DoubleTensor, "torch.DoubleTensor")):
                    m.set_default_dtype(m.float32)
                    (m.set_default_tensor_type if way else m.set_default_dtype)(name)
                    made = [m.tensor(1.5), m.zeros(2), m.arange(2.0), m.randn(1), m.ones(2, dtype=m.int64) / 2,
                            m.ones(2, dtype=m.float32) * 1.5, m.linspace(0, 1, 2), m.full((1,), 0.5), m.Tensor([1]),
                            m.nn.Linear(2, 2).weight, m.tensor([True]).float(), m.eye(2), m.sqrt(m.tensor(4)),
                            m.tensor(2) * 1.5]  # fmt: skip
                    row += [str(m.get_default_dtype()), *(str(t.dtype) for t in made)]
                    row.append(repr(m.ones(1, dtype=m.float32)))
            finally:
                m.set_default_dtype(m.float32)
        seen.append(row)
    assert seen[0] == seen[1]


def test_small_types() -> None:
    seen = []
    for m in (unspool, torch):
        size = m.zeros(2, 3, 4).shape
        d = m.device("cpu")
        row: list[Any] = [repr(size), size.numel(), size[0], repr(size[1:]), repr((*size, 1)), repr(size * 2)]
        row += [repr(size + (1,)), size == (2, 3, 4), list(size), size.index(3), size.count(2), len(size)]  # noqa: RUF005
        row += [hash(size) == hash((2, 3, 4)), repr(m.Size([1, 2])), repr(pickle.loads(pickle.dumps(size)))]
        row += [repr(copy.deepcopy(size)), repr(d), str(d), f"{d}", d.type, d.index, d == m.device("cpu"), d == "cpu"]
        row += [d in {m.device("cpu")}, repr(pickle.loads(pickle.dumps(d))), repr(copy.deepcopy(d))]
        row += [repr(getattr(m, n)) for n in (*NAMES, "float", "double", "int", "long")]
        for dtype in (getattr(m, n) for n in NAMES):
            row += [pickle.loads(pickle.dumps(dtype)) is dtype, copy.deepcopy(dtype) is dtype]
            row += [dtype.is_floating_point, dtype.is_signed, dtype.is_complex, dtype.itemsize]
        row += [repr(getattr(m, n)) for n in ("contiguous_format", "preserve_format", "channels_last", "strided")]
        row.append(pickle.loads(pickle.dumps(m.preserve_format)) is m.preserve_format)
        row += [m.is_tensor(size), m.is_tensor(m.ones(1)), m.is_floating_point(m.ones(1)), m.is_storage(3)]
        seen.append(row)
    assert seen[0] == seen[1]


def test_what_programs_ask_of_the_machine() -> None:
    for m in (unspool, torch):
        assert m.cuda.is_available() is False
        assert m.cuda.device_count() == 0
        m.cuda.manual_seed_all(3)
        m.cuda.empty_cache()
        assert m.backends.mps.is_available() is False
        device = m.device("cuda" if m.cuda.is_available() else "cpu")
        assert m.ones(2, device=device).to(device).device.type == "cpu"
        assert isinstance(m.__version__, str)
        m.use_deterministic_algorithms(False)
    unspool.backends.cudnn.deterministic = True  # PyTorch's are frozen where its test tools are imported
    unspool.backends.cudnn.benchmark = False


def test_random_state_in_a_scope() -> None:
    seen = []
    for m in (unspool, torch):
        m.manual_seed(5)
        with m.random.fork_rng():
            inside = m.rand(3).tolist()
            m.manual_seed(99)
        after = m.rand(3).tolist()
        state = m.get_rng_state()
        drawn = m.randn(4).tolist()
        m.set_rng_state(state)
        assert m.randn(4).tolist() == drawn
        m.random.set_rng_state(m.random.get_rng_state())
        seen.append([inside, after, drawn, m.initial_seed(), m.random.initial_seed()])
    assert inside == after
    assert seen[0] == seen[1]


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")  # PyTorch's
@pytest.mark.parametrize("dtype", ["float32", "int64", "bool", "float16"])
def test_a_storage_is_a_sequence_of_elements(dtype: str) -> None:
    seen = []
    for m in (unspool, torch):
        x = m.arange(6).to(getattr(m, dtype)).reshape(2, 3)
        s = x[1:].t().storage()
        s[0] = 1
        row: list[Any] = [repr(s), len(s), s.size(), s.nbytes(), s[1], s[-1], list(s), s.tolist(), str(s.dtype)]
        seen.append([*row, x.tolist(), m.is_storage(s), s.untyped().nbytes(), s.data_ptr() == x.data_ptr()])
        with pytest.raises(IndexError):
            s[6]
    assert seen[0] == seen[1]


def test_storage() -> None:
    seen = []
    for m in (unspool, torch):
        x = m.arange(12.0).reshape(3, 4)
        y, z = x[1:, ::2], x.clone()
        row: list[Any] = [
            x.untyped_storage().data_ptr() == y.untyped_storage().data_ptr(),
            x.untyped_storage().data_ptr() == z.untyped_storage().data_ptr(),
            y.untyped_storage().nbytes(), y.storage_offset(), y.stride(), y.stride(0), y.is_contiguous(),
            y.data_ptr() - x.data_ptr(), x.is_set_to(x), x.is_set_to(y), x.view(3, 4).is_set_to(x), x.is_shared(),
            x.element_size(), x.nbytes, x.is_contiguous(memory_format=m.contiguous_format), x._version,
        ]  # fmt: skip
        a = m.arange(6.0)
        row += [a.resize_(2, 2).tolist(), tuple(a.resize_(4).shape), a._version >= 0]
        e = m.empty(0)
        row += [tuple(e.resize_(2, 3).shape), tuple(e.resize_as_(m.ones(3)).shape), tuple(e.resize_([2]).shape)]
        b, c = m.zeros(3), m.arange(4.0)
        row += [b.set_(c) is b, b.tolist(), b.is_set_to(c)]
        c[0] = 9.0
        row.append(b.tolist())
        row.append(m.zeros(1).set_(c, 1, (2,), (2,)).tolist() if m is unspool else [1.0, 3.0])
        row.append(tuple(b.set_().shape))
        seen.append(row)
    assert seen[0] == seen[1]


def test_a_tensor_that_grows_keeps_its_elements() -> None:
    seen = []
    for m in (unspool, torch):
        x = m.arange(4.0)
        x.resize_(6)
        seen.append((x[:4].tolist(), tuple(x.shape), x.stride()))
        with pytest.raises(RuntimeError, match="resize"):
            m.ones(2, requires_grad=True).resize_(3)
    assert seen[0] == seen[1]
    shared = unspool.zeros(2)
    kept = shared.view(2, 1)
    with pytest.raises(RuntimeError, match="shared"):
        shared.resize_(3)
    assert kept.tolist() == [[0], [0]]
