"""float16 and bfloat16: stored in 16 bits, computed in float32, rounded back; beside PyTorch."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import unspool
from unspool import nn

torch = pytest.importorskip("torch", reason="PyTorch is the reference for 16-bit floats")

HALVES = ("float16", "bfloat16")
# A step of the dtype: results may be rounded once more or less than PyTorch's.
STEP = {"float16": 2.0**-10, "bfloat16": 2.0**-7}


def both(values: Any, name: str) -> tuple[Any, Any]:
    return unspool.tensor(values, dtype=getattr(unspool, name)), torch.tensor(values, dtype=getattr(torch, name))


def same(ours: Any, theirs: Any, steps: float = 0) -> None:
    assert str(ours.dtype) == str(theirs.dtype)
    assert tuple(ours.shape) == tuple(theirs.shape)
    a, b = ours.detach().double().numpy(), theirs.detach().double().numpy()
    if steps == 0:
        np.testing.assert_array_equal(a, b)
    else:
        rtol = steps * STEP.get(str(ours.dtype).removeprefix("torch."), 1e-6)
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("name", HALVES)
def test_every_number_of_16_bits_widens_and_comes_back(name: str) -> None:
    bits = np.arange(65536, dtype=np.uint16)
    theirs = torch.from_numpy(bits.view(np.int16)).view(getattr(torch, name))
    ours = unspool.from_dlpack(theirs)
    same(ours, theirs)
    number = ~np.isnan(theirs.float().numpy())
    wide, expected = (x.float().numpy().view(np.uint32)[number] for x in (ours, theirs))
    np.testing.assert_array_equal(wide, expected)  # bits, so that -0 counts
    back = torch.from_dlpack(ours.float().to(ours.dtype)).view(torch.int16).numpy().view(np.uint16)
    np.testing.assert_array_equal(back[number], bits[number])


@pytest.mark.parametrize("name", HALVES)
@pytest.mark.parametrize("source", ["float32", "float64", "int64", "int32", "uint8", "bool"])
def test_rounding_from_every_dtype(name: str, source: str) -> None:
    draw = np.random.default_rng(7)
    if source.startswith("float"):
        exponents = draw.integers(-46, 46, 20000) if name == "float16" else draw.integers(-140, 128, 20000)
        values = (draw.standard_normal(20000) * 2.0**exponents).clip(-3e38, 3e38).astype(source)
        ties = (np.arange(4096) + 0.5) * 2.0**-10  # half-way cases
        values = np.concatenate([values, ties, -ties, [0.0, -0.0, np.inf, -np.inf, np.nan, 65519.0, 65520.0]])
        values = values.astype(source)
    else:
        values = draw.integers(-(2**20), 2**20, 20000).astype(source)
    ours = unspool.from_numpy(values).to(getattr(unspool, name))
    theirs = torch.from_numpy(values).to(getattr(torch, name))
    same(ours, theirs)
    same(ours.to(getattr(unspool, source)), theirs.to(getattr(torch, source))) if source != "uint8" else None


@pytest.mark.parametrize("name", HALVES)
def test_operations(name: str) -> None:
    draw = np.random.default_rng(1)
    a, b = both(draw.standard_normal((4, 5)).tolist(), name), both(draw.uniform(0.5, 2, (4, 5)).tolist(), name)
    c = both(draw.standard_normal((5, 3)).tolist(), name)

    def calls(t: Any, k: int) -> list[Any]:
        x, y, z = a[k], b[k], c[k]
        return [
            x + y, x - 2, 3 * x, x / y, x**2, y.sqrt(), y.log(), x.exp(), x.tanh(), x.sigmoid(), x.relu(), x.abs(), -x,
            x > y, x == x, t.maximum(x, y), t.where(x > 0, x, y), x.clamp(-1, 1), x + 2.5, x * t.ones(5), x // y,
            x.sum(), x.sum(0), x.mean(1), x.amax(1), x.argmax(1), x.max(), x.std(), x.softmax(1), x.log_softmax(0),
            x @ z, x.sum(dtype=t.float32), x.cumsum(1), x.sort(1)[0], x.norm(), x.t(), x[1:, ::2], x[:, [0, 3]],
            x[x > 0], t.cat([x, y]), t.stack([x, y]), t.cat([x, t.ones(1, 5)]), x.flip(0), x.repeat(2, 1),
            x.gather(1, t.tensor([[0], [1], [2], [3]])), x.isnan().any(), x.round(), t.nn.functional.gelu(x),
            t.nn.functional.layer_norm(x, (5,)), t.nn.functional.linear(x, z.t()), x.unsqueeze(0), x.expand(2, 4, 5),
            t.zeros_like(x), t.full((2,), 0.1, dtype=x.dtype), t.arange(5, dtype=x.dtype),
            t.linspace(0, 1, 5, dtype=x.dtype),
            *(x.scatter_reduce(0, t.tensor([[0] * 5] * 4), y, r) for r in ("sum", "mean", "amax", "prod")),
            t.eye(3, dtype=x.dtype), x.type_as(y), x.bool(), x.long(), t.tensor([1, 2]) * x[0, 0], x * t.tensor(3),
        ]  # fmt: skip

    for i, (ours, theirs) in enumerate(zip(calls(unspool, 0), calls(torch, 1), strict=True)):
        try:
            same(ours, theirs, 4)
        except AssertionError as e:
            raise AssertionError(f"call {i}: {e}") from None


@pytest.mark.parametrize("name", HALVES)
def test_gradients_have_the_dtype_of_their_tensor(name: str) -> None:
    draw = np.random.default_rng(2)
    values = [draw.standard_normal(s).tolist() for s in ((6, 4), (3, 4), (3,))]
    grads = []
    for t in (unspool, torch):
        x, w, b = (t.tensor(v, dtype=getattr(t, name), requires_grad=True) for v in values)
        y = t.nn.functional.linear(x, w, b).relu()
        loss = ((y - 1) ** 2).mean() + w.float().sum()
        loss.backward()
        grads.append([x.grad, w.grad, b.grad])
    for ours, theirs in zip(*grads, strict=True):
        same(ours, theirs, 8)


@pytest.mark.parametrize("name", HALVES)
def test_writes_in_place_through_views_and_beside_the_tape(name: str) -> None:
    found = []
    for t in (unspool, torch):
        x = t.ones(3, 4, dtype=getattr(t, name))
        alias = x[1]
        x[0] = 0.1
        x[1:, 2] += 0.3
        alias.mul_(3)
        x.add_(t.ones(4) * 1e-4)
        x[t.tensor([0, 2]), t.tensor([0, 1])] = t.tensor([7.0, 8.0], dtype=x.dtype)
        x.index_put_((t.tensor([0, 0]), t.tensor([1, 1])), t.tensor([1.0, 2.0], dtype=x.dtype), accumulate=True)
        x.clamp_(max=7.5)
        leaf = t.ones(4, dtype=getattr(t, name), requires_grad=True)
        y = leaf * 2
        y[1:].mul_(3)
        y += leaf
        y.sum().backward()
        y32 = t.ones(4)
        y32 += y.detach()
        found.append([x, alias, leaf.grad, y, y32])
    for ours, theirs in zip(*found, strict=True):
        same(ours, theirs, 1)
    with pytest.raises(RuntimeError, match="can't be cast"):
        unspool.ones(2, dtype=unspool.int64).add_(unspool.ones(2, dtype=getattr(unspool, name)))


def test_exchange_with_numpy() -> None:
    a = np.arange(6, dtype=np.float16).reshape(2, 3)
    t = unspool.from_numpy(a)
    t[0, 0] = 9
    assert a[0, 0] == 9
    assert t.dtype == unspool.half
    assert t.numpy().dtype == np.float16
    assert np.shares_memory(t.numpy(), a)
    assert bytes(memoryview(t)) == a.tobytes()
    assert unspool.tensor(np.float16(0.1)).dtype == unspool.float16
    b = unspool.ones(2, dtype=unspool.bfloat16)
    with pytest.raises(TypeError, match="numpy: NumPy has no dtype for bfloat16"):
        b.numpy()
    with pytest.raises(BufferError, match="bfloat16"):
        memoryview(b)
    shared = torch.from_dlpack(b)
    shared[0] = 5
    assert b.tolist() == [5.0, 1.0]


@pytest.mark.parametrize("name", HALVES)
def test_printed_pickled_copied(name: str) -> None:
    values = [[0.1, 1e4], [float("nan"), -3.0]]
    ours, theirs = both(values, name)
    assert repr(ours) == repr(theirs)
    assert repr(ours[1, 1]) == repr(theirs[1, 1])
    for other in (pickle.loads(pickle.dumps(ours)), copy.deepcopy(ours)):
        same(other, theirs)
    assert str(unspool.finfo(ours.dtype)) == str(torch.finfo(theirs.dtype))
    assert ours[0].tolist() == theirs[0].tolist()
    assert float(ours[0, 0]) == float(theirs[0, 0])
    assert ours.element_size() == 2
    assert ours.type() == theirs.type()


@pytest.mark.parametrize("name", HALVES)
def test_uniforms_are_pytorchs_and_stay_below_one(name: str) -> None:
    found = []
    for t in (unspool, torch):
        t.manual_seed(3)
        found.append([t.rand(3000, dtype=getattr(t, name)), t.empty(5, 7, dtype=getattr(t, name)).uniform_(-2, 3)])
    for ours, theirs in zip(*found, strict=True):
        same(ours, theirs)
    assert float(found[0][0].max()) < 1
    z = unspool.randn(4000, dtype=getattr(unspool, name)).float()
    assert abs(float(z.mean())) < 0.06
    assert abs(float(z.std()) - 1) < 0.05
    assert set(unspool.empty(50, dtype=getattr(unspool, name)).bernoulli_(0.5).tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("name", HALVES)
@pytest.mark.parametrize("kind", ["SGD", "Adam", "AdamW", "RMSprop"])
def test_a_module_trains_in_16_bits(name: str, kind: str) -> None:
    unspool.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1)).to(getattr(unspool, name))
    assert {p.dtype for p in model.parameters()} == {getattr(unspool, name)}
    x = unspool.randn(16, 3).to(getattr(unspool, name))
    y = x.sum(1, keepdim=True)
    # RMSprop's and Adam's squares vanish in float16 below 2.4e-4, as in PyTorch: eps keeps the steps finite.
    options = {"lr": 0.05} if kind == "SGD" else {"lr": 0.01, "eps": 1e-3}
    optimizer = getattr(unspool.optim, kind)(model.parameters(), **options)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 3


@pytest.mark.parametrize("name", HALVES)
def test_as_the_default_dtype(name: str) -> None:
    found = []
    for t in (unspool, torch):
        t.set_default_dtype(getattr(t, name))
        try:
            i = t.tensor([1, 2, 3])
            found.append(
                [t.tensor([0.1]), t.zeros(2), i / 2, i.sqrt(), i * 0.1, t.full((2,), 0.3), t.ones(3) @ t.ones(3)]
            )
        finally:
            t.set_default_dtype(t.float32)
    for ours, theirs in zip(*found, strict=True):
        same(ours, theirs, 1)


@pytest.mark.parametrize("name", HALVES)
@pytest.mark.parametrize("n", [15, 16, 17, 25, 32, 100])
def test_normal_numbers_are_drawn_as_pytorchs(name: str, n: int) -> None:
    """The last 16 take the place of the incomplete block; in a tensor with gaps each is drawn by itself."""
    for make in (lambda m, kind: m.empty(n, dtype=kind), lambda m, kind: m.empty(n, 2, dtype=kind)[:, 0]):
        seen = []
        for m in (unspool, torch):
            m.manual_seed(3)
            x = make(m, getattr(m, name)).normal_(1.0, 2.0)
            seen.append((x.tolist(), m.rand(2).tolist()))
        assert seen[0] == seen[1]


@pytest.mark.parametrize(
    "call",
    [
        lambda m, x: m.linalg.vector_norm(x),
        lambda m, x: m.norm(x, 3),
        lambda m, x: m.linalg.matrix_norm(x),
        lambda m, x: m.dist(x, -x),
        lambda m, x: x.std(),
        lambda m, x: x[:1].repeat(1, 4).var(),
        lambda m, x: m.dot(x[0], m.tensor([300.0, -300.0, 1.0], dtype=x.dtype)),
        lambda m, x: m.addmm(x[:, :2], x, x.T, alpha=0.1),
        lambda m, x: m.nn.functional.scaled_dot_product_attention(x, x, x),
    ],
)
def test_parts_of_a_result_may_exceed_float16(call: Any) -> None:
    seen = []
    for m in (unspool, torch):
        x = m.tensor([[300.0, 299.0, 3.0], [-410.0, 305.0, 2.0]], dtype=m.float16)
        seen.append(call(m, x).double().numpy())
    assert np.isfinite(seen[0]).all()
    np.testing.assert_allclose(seen[0], seen[1], rtol=2 * STEP["float16"])
