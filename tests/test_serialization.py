"""`unspool.save` and `unspool.load`: what comes back, what other programs read, what is refused.

The references are the objects themselves, compared to the bit, and the safetensors package with PyTorch and NumPy. How
files are replaced is tests/test_saved_files.py's affair, what damage does tests/test_damaged_files.py's.
"""

from __future__ import annotations

import io
import json
import math
import struct
import subprocess
import sys
import types
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import unspool
from unspool import nn, optim
from unspool.errors import DTypeError

safetensors = pytest.importorskip("safetensors", reason="unspool.load needs it (pip install '.[save]')")

DTYPES = ["bool", "uint8", "int32", "int64", "float16", "bfloat16", "float32", "float64"]


def written(obj: Any) -> bytes:
    file = io.BytesIO()
    unspool.save(obj, file)
    return file.getvalue()


def there_and_back(obj: Any) -> Any:
    return unspool.load(io.BytesIO(written(obj)))


def bits(t: Any) -> bytes:
    """A tensor's values, elements in order."""
    return bytes(t.detach().contiguous().reshape(-1).view(unspool.uint8).numpy())


def same(a: Any, b: Any) -> bool:
    """Types, order and bits."""
    if type(a) is not type(b):
        return False
    if isinstance(a, unspool.Tensor):
        return (a.dtype, a.shape, a.requires_grad, bits(a)) == (b.dtype, b.shape, b.requires_grad, bits(b))
    if isinstance(a, (np.ndarray, np.generic)):
        return (a.dtype.newbyteorder("="), a.shape) == (b.dtype, b.shape) and a.astype(b.dtype).tobytes() == b.tobytes()
    if isinstance(a, dict):
        metadata = same(getattr(a, "_metadata", None), getattr(b, "_metadata", None))
        return metadata and same([*a.keys()], [*b.keys()]) and same([*a.values()], [*b.values()])
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float):
        return struct.pack("d", a) == struct.pack("d", b)
    return bool(a == b)


def tensors() -> st.SearchStrategy[Any]:
    def made(dtype: str, a: Any, transposed: bool, grad: bool) -> Any:
        t = unspool.tensor(a).to(getattr(unspool, dtype))
        t = t.T if transposed and t.dim() == 2 else t
        return t.requires_grad_(grad and t.is_floating_point())

    arrays = hnp.arrays(
        np.float32, hnp.array_shapes(min_dims=0, min_side=0, max_dims=3), elements=st.floats(0, 99, width=32)
    )
    return st.builds(made, st.sampled_from(DTYPES), arrays, st.booleans(), st.booleans())


def numpy_values() -> st.SearchStrategy[Any]:
    kinds = st.sampled_from(["?", "u1", "i2", "u4", "i8", "f2", "f4", ">f8", "c8"])
    arrays = kinds.flatmap(lambda kind: hnp.arrays(kind, hnp.array_shapes(min_dims=0, min_side=0, max_dims=3)))
    scalars = st.sampled_from([np.float64(0.1), np.float32("nan"), np.int8(-3), np.bool_(True), np.complex128(1 - 2j)])
    return arrays | scalars


SIGNALLING = struct.unpack("<d", bytes.fromhex("010000000000f07f"))[0]  # a NaN
KEYS = st.text(max_size=4) | st.integers() | st.booleans() | st.none() | st.tuples(st.integers(), st.text(max_size=2))
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.integers(10**400, 10**401)
    | st.floats() | st.text(st.characters()) | tensors() | numpy_values()
)  # fmt: skip
OBJECTS = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(KEYS, inner, max_size=4)
        | st.dictionaries(KEYS, inner, max_size=4).map(OrderedDict)
    ),
    max_leaves=12,
)


@given(OBJECTS)
def test_whatever_is_nested_comes_back(obj: Any) -> None:
    content = written(obj)
    assert content == written(obj)
    back = unspool.load(io.BytesIO(content))
    assert same(obj, back)
    safetensors.deserialize(content)  # which is strict about the format


@pytest.mark.parametrize(
    "value",
    [
        -0.0, math.inf, -math.inf, SIGNALLING, 5e-324, 2**63, -(2**63), 2**64, "\ud800", "", [], (), {}, OrderedDict(),
        Counter("hello"), unspool.Size([2, 0]), unspool.ones(2),
        {"__metadata__": unspool.ones(1)}, {"unspool.sha256": unspool.ones(1)},
        {"": unspool.ones(1), "\ud800": unspool.ones(2)}, {1: unspool.ones(1), "1": unspool.ones(2)},
        {"a.b": unspool.ones(1), "a": {"b": unspool.ones(2)}, "a.b#2": unspool.ones(3)},
        {"b": nn.Parameter(unspool.ones(2)), "a": nn.Parameter(unspool.ones(2), requires_grad=False)},
        np.ones((2, 3), order="F"), np.arange(6)[::-2], np.float16([0.1]), np.longdouble(0.1),
        unspool.ones(3).expand(4, 3), unspool.arange(12).reshape(3, 4)[1:, ::2],
        unspool.arange(3.0).requires_grad_() * 2,
    ],
)  # fmt: skip
def test_odd_values(value: Any) -> None:
    back = there_and_back(value)
    assert same(value.detach().requires_grad_() if getattr(value, "grad_fn", None) else value, back)


def test_ints_longer_than_python_prints() -> None:
    for value in (10**5000, -(10**5000)):
        assert (there_and_back([value])[0] - value) == 0


def test_shared_tensors_are_shared_afterwards() -> None:
    p = nn.Parameter(unspool.arange(6.0).reshape(2, 3))
    a = np.arange(3)
    empty = unspool.zeros(0)
    square = unspool.arange(4.0).reshape(2, 2)
    back = there_and_back(
        [p, p, {"detached": p.detach()}, p.detach()[1], a, a, empty, unspool.zeros(0), square, square.T]
    )
    assert back[0] is back[1]
    assert back[4] is back[5]
    assert back[6] is not back[7]
    back[2]["detached"][1, 0] = 7
    assert back[0][1, 0] == 7
    assert back[3][0] == 3  # another view: a tensor of its own
    assert back[9].tolist() == [[0, 2], [1, 3]]
    back[4][0] = 3  # writable


def test_what_is_loaded_owns_its_memory(tmp_path: Path) -> None:
    unspool.save({"a": unspool.ones(2, 2)}, tmp_path / "x")
    t = unspool.load(tmp_path / "x")["a"]
    (tmp_path / "x").unlink()
    t += 1
    t.resize_(100)
    assert t[:2, :2].sum() == 8 if t.dim() == 2 else t[:4].sum() == 8


OPTIMIZERS = ["Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "LBFGS", "NAdam", "RAdam", "RMSprop", "Rprop", "SGD"]
SCHEDULERS: list[Callable[[Any], Any]] = [
    lambda o: optim.lr_scheduler.StepLR(o, 2),
    lambda o: optim.lr_scheduler.MultiStepLR(o, [1, 3, 3]),
    lambda o: optim.lr_scheduler.LambdaLR(o, lambda epoch: 0.9**epoch),
    lambda o: optim.lr_scheduler.CosineAnnealingWarmRestarts(o, 3),
    lambda o: optim.lr_scheduler.ReduceLROnPlateau(o),
    lambda o: optim.lr_scheduler.CyclicLR(o, 0.01, 0.1, cycle_momentum=False),
    lambda o: optim.lr_scheduler.OneCycleLR(o, 0.1, total_steps=20, cycle_momentum=False),
    lambda o: optim.lr_scheduler.SequentialLR(
        o, [optim.lr_scheduler.ConstantLR(o), optim.lr_scheduler.ExponentialLR(o, 0.9)], [2]
    ),
    lambda o: optim.lr_scheduler.ChainedScheduler([optim.lr_scheduler.LinearLR(o), optim.lr_scheduler.PolynomialLR(o)]),
]


def training(optimizer: str, scheduler: Callable[[Any], Any]) -> tuple[Any, Any, Any, Callable[[], float]]:
    unspool.manual_seed(3)
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.2), nn.Linear(6, 2))
    o = getattr(optim, optimizer)(model.parameters(), lr=0.01)
    s = scheduler(o)

    def step() -> float:
        def closure() -> Any:
            o.zero_grad()
            loss = model(unspool.randn(8, 4)).square().mean()
            loss.backward()
            return loss

        loss = o.step(closure)
        s.step(*([loss] if isinstance(s, optim.lr_scheduler.ReduceLROnPlateau) else []))
        return float(loss)

    return model, o, s, step


@pytest.mark.parametrize("scheduler", range(len(SCHEDULERS)))
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_training_goes_on_to_the_bit(optimizer: str, scheduler: int, tmp_path: Path) -> None:
    model, o, s, step = training(optimizer, SCHEDULERS[scheduler])
    for _ in range(3):
        step()
    checkpoint = {
        "model": model.state_dict(), "optimizer": o.state_dict(), "scheduler": s.state_dict(),
        "random_state": unspool.get_rng_state(), "epoch": 3, "history": {"loss": [0.1, math.nan]},
    }  # fmt: skip
    unspool.save(checkpoint, tmp_path / "x.safetensors")
    expected = [step() for _ in range(4)], model.state_dict(), o.state_dict(), s.state_dict()

    model, o, s, step = training(optimizer, SCHEDULERS[scheduler])
    loaded = unspool.load(tmp_path / "x.safetensors", map_location="cpu", weights_only=True)
    model.load_state_dict(loaded["model"])
    o.load_state_dict(loaded["optimizer"])
    s.load_state_dict(loaded["scheduler"])
    unspool.set_rng_state(loaded["random_state"])
    found = [step() for _ in range(4)], model.state_dict(), o.state_dict(), s.state_dict()
    assert same(list(expected), list(found))


# Other programs


def some_tensors(t: Any) -> dict[str, Any]:
    t.manual_seed(4)
    made = {name: (t.randn(3, 5) * 9).to(getattr(t, name)) for name in DTYPES}
    made |= {"0-d": t.tensor(2.5), "empty": t.zeros(2, 0, 3), "ü.weight": t.tensor([math.nan, math.inf, -0.0])}
    return made


def test_pytorch_reads_a_state_dict(torch: types.ModuleType, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    ours = some_tensors(unspool)
    tied = unspool.ones(4, 4)
    unspool.save({**ours, "strided": ours["float32"].T, "a": tied, "b": tied}, tmp_path / "x")
    found = load_file(tmp_path / "x")
    expected = some_tensors(torch)
    expected |= {"strided": expected["float32"].T.contiguous(), "a": torch.ones(4, 4), "b": torch.ones(4, 4)}
    assert found.keys() == expected.keys()
    for name, t in expected.items():
        assert (found[name].dtype, found[name].shape) == (t.dtype, t.shape)
        assert found[name].reshape(-1).view(torch.uint8).equal(t.reshape(-1).view(torch.uint8)), name


def test_a_state_dict_of_pytorch(torch: types.ModuleType, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file(some_tensors(torch), tmp_path / "x", metadata={"format": "pt", "note": "unspool"})
    found, expected = unspool.load(tmp_path / "x"), some_tensors(unspool)
    assert found.keys() == expected.keys()
    assert all(same(t, found[name]) for name, t in expected.items())


def test_a_model_goes_to_pytorch_and_back(torch: types.ModuleType, tmp_path: Path) -> None:
    from safetensors.torch import load_model, save_model

    def made(t: Any) -> Any:
        return t.nn.Sequential(t.nn.Linear(3, 4), t.nn.BatchNorm1d(4), t.nn.ReLU(), t.nn.Linear(4, 2))

    unspool.manual_seed(0)
    ours, theirs, again = made(unspool), made(torch), made(unspool)
    unspool.save(ours.state_dict(), tmp_path / "x")
    load_model(theirs, tmp_path / "x")
    save_model(theirs, str(tmp_path / "y"))
    again.load_state_dict(unspool.load(tmp_path / "y"))
    assert all(same(t, again.state_dict()[name]) for name, t in ours.state_dict().items())


def test_the_tensors_of_a_checkpoint_have_readable_names() -> None:
    from safetensors.numpy import load

    model = nn.Linear(2, 3)
    content = written({"model": model.state_dict(), "moments": [unspool.ones(2)], "epoch": 3, "x": np.int8([4])})
    found = load(content)
    assert found.keys() == {"model.weight", "model.bias", "moments.0", "x"}
    np.testing.assert_array_equal(found["model.weight"], model.weight.detach().numpy())
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert header.pop("__metadata__")["format"] == "pt"


def test_a_foreign_file_with_what_unspool_does_not_have() -> None:
    from safetensors.numpy import save

    with pytest.raises(DTypeError, match=r"load: the content of BytesIO has the tensor 'a' of dtype I16"):
        unspool.load(io.BytesIO(save({"a": np.int16([1])})))
    assert unspool.load(io.BytesIO(save({}))) == {}
    content = save({"a": np.array([True, False])})
    assert unspool.load(io.BytesIO(content[:-2] + b"\2\0"))["a"].tolist() == [True, False]


def test_numbers_stand_where_a_mapped_file_can_be_read_as_such() -> None:
    content = written({name: unspool.ones(3).to(getattr(unspool, name)) for name in DTYPES})
    size = int.from_bytes(content[:8], "little")
    for entry in json.loads(content[8 : 8 + size]).values():
        if "dtype" in entry:
            begin, end = entry["data_offsets"]
            assert (8 + size + begin) % ((end - begin) // 3) == 0


# What is refused


class Odd(nn.Parameter):
    pass


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        (lambda: 0, "obj is of type function"),
        (nn.Linear(1, 1), r"obj is of type .*\.Linear, which is not saved; save its state_dict\(\)"),
        ({"a": [1, {2: print}]}, r"obj\['a'\]\[1\]\[2\] is of type builtin_function_or_method"),
        ({"s": {1}}, r"obj\['s'\] is of type set"),
        ((1j,), r"obj\[0\] is of type complex"),
        ([b"x"], r"obj\[0\] is of type bytes"),
        ({"d": unspool.float32}, r"obj\['d'\] is of type unspool.dtype"),
        ({"g": unspool.Generator()}, r"obj\['g'\] is of type unspool._core.Generator"),
        ({"h": defaultdict(list)}, r"obj\['h'\] is of type collections.defaultdict, .*plain dict"),
        ([unspool.ones(2).max(0)], r"obj\[0\] is of type .*max, .*plain tuple"),
        ({"x": {unspool.ones(1): 1}}, r"obj\['x'\] has a key of type unspool.Tensor"),
        ({"x": {frozenset(): 1}}, r"obj\['x'\] has a key of type frozenset"),
        ({"p": Odd(unspool.ones(1))}, r"obj\['p'\] is of type .*Odd, a subclass of Tensor"),
        (np.array(["a"]), "obj is a NumPy array of dtype <U1"),
        ([np.array([None])], r"obj\[0\] is a NumPy array of dtype object"),
        (np.zeros(1, complex), "obj is a NumPy array of dtype complex128"),
        ([np.str_("a")], r"obj\[0\] is of type numpy.str_, .*plain str"),
        (np.ma.array([1]), "obj is of type numpy.ma.*MaskedArray"),
    ],
)
def test_what_cannot_be_saved(obj: Any, message: str, tmp_path: Path) -> None:
    unspool.save({"old": 1}, tmp_path / "x")
    for name in ("x", "new"):
        with pytest.raises(TypeError, match="save: " + message):
            unspool.save(obj, tmp_path / name)
    assert unspool.load(tmp_path / "x") == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_nesting_without_an_end(tmp_path: Path) -> None:
    loop: list[Any] = []
    loop.append({"again": loop})
    with pytest.raises(ValueError, match=r"save: obj is nested more than 100 levels deep at obj\[0\]\['again'\]\[0\]…"):
        unspool.save(loop, tmp_path / "x")
    deep: Any = 1.5
    for _ in range(100):
        deep = [deep]
    assert there_and_back(deep) == deep
    assert not any(tmp_path.iterdir())


def test_a_structure_too_long_for_the_format(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"save: obj takes \d+ bytes beside the data.*100000000"):
        unspool.save({"text": "x" * 100_000_000}, tmp_path / "x")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("place", ["cuda", "meta", {"cuda:0": "cpu"}, lambda storage, where: storage])
def test_map_location_is_the_cpu(place: Any) -> None:
    content = written([1])
    with pytest.raises(RuntimeError, match='load: map_location must be None or "cpu", got'):
        unspool.load(io.BytesIO(content), map_location=place)
    assert unspool.load(io.BytesIO(content), unspool.device("cpu")) == [1]


def test_saving_while_a_step_is_frozen_is_refused() -> None:
    @unspool.compile
    def step(x: Any) -> Any:
        unspool.save({"x": x}, io.BytesIO())
        return x * 2

    with pytest.raises(unspool.errors.PlanError, match="reads a tensor's value"):
        step(unspool.ones(2))


def test_importing_is_cheap_and_a_missing_package_is_named(tmp_path: Path) -> None:
    code = f"""
import sys
import unspool
assert not {{"unspool.serialization", "safetensors"}} & set(sys.modules)
assert {{"save", "load", "serialization"}} <= set(dir(unspool))
unspool.save([1], {str(tmp_path / "x")!r})
sys.modules["safetensors"] = None
try:
    unspool.load({str(tmp_path / "x")!r})
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "load needs safetensors: pip install 'unspool[save]'\n"
