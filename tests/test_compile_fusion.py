"""What a plan makes one operation: chains of elementwise ones, a loss and its gradient, a gradient and its update."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import unspool
import unspool.nn.functional as F
from compile_programs import bits
from unspool import _core, nn, optim

# ---- Chains of elementwise operations --------------------------------------------------------------------------------


def _smooth(x: Any, y: Any) -> Any:
    return (unspool.exp(-x * x) * 2 + y.abs()) / (1 + (x * y).abs()) - unspool.tanh(y)


def _branches(x: Any, y: Any) -> Any:
    larger = (x > y) & (x > 0)
    return larger, unspool.where(larger, x, y) * 3


def _inplace(x: Any, y: Any) -> Any:
    z = x * 2
    z += y
    z.mul_(z).sub_(1)
    z.view(-1).abs_()
    return z, z.sqrt()


def _shifted(x: Any, y: Any) -> Any:
    # A later step reads what an earlier one writes, at other elements: no block has both.
    z = x + 1
    z[1:] *= y[:-1]
    return z.neg() + z.abs(), z[:-1] - z[1:]


def _single(x: Any, y: Any) -> Any:
    scale = unspool.full((), 3.0, dtype=x.dtype) * 2
    return x * scale + y[0] * x


_CHAINS: list[Callable[..., Any]] = [_smooth, _branches, _inplace, _shifted, _single]


@pytest.mark.parametrize("n", [1, 2, 7, 2047, 2048, 2049, 4096, 70_001])
@pytest.mark.parametrize("chain", _CHAINS, ids=[f.__name__ for f in _CHAINS])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_chain_has_the_bits_of_its_operations(chain: Callable[..., Any], n: int, dtype: str) -> None:
    rng = np.random.default_rng(n)
    frozen = unspool.compile(chain)
    for round_ in range(4):
        x, y = (unspool.tensor(rng.standard_normal(n), dtype=getattr(unspool, dtype)) for _ in range(2))
        if round_ == 3:
            x[0], y[-1] = float("nan"), float("inf")
        expected = chain(x, y)
        results = frozen(x, y)
        for e, r in zip(*(t if isinstance(t, tuple) else (t,) for t in (expected, results)), strict=True):
            assert bits(e) == bits(r)
    assert frozen.plans == 1
    assert "+" in frozen.explain()


@pytest.mark.parametrize("n", [4096, 70_001])
def test_threads_share_a_chain(n: int) -> None:
    x, y = unspool.randn(n), unspool.randn(n)
    frozen = unspool.compile(_smooth)
    expected = bits(_smooth(x, y))
    threads, threshold = unspool.get_num_threads(), _core._set_parallel_threshold(0)
    try:
        for count in (1, 2, 3):
            unspool.set_num_threads(count)
            assert all(bits(frozen(x, y)) == expected for _ in range(4))
    finally:
        unspool.set_num_threads(threads)
        _core._set_parallel_threshold(threshold)


def test_backward_of_a_chain_is_one() -> None:
    w = unspool.randn(3000, requires_grad=True)

    def step(x: Any) -> Any:
        w.grad = None
        loss = (unspool.tanh(w * x) * x + unspool.sigmoid(w)).sum()
        loss.backward()
        return loss.detach()

    frozen = unspool.compile(step)
    for _ in range(4):
        x = unspool.randn(3000)
        expected, grad = bits(step(x)), bits(w.grad)
        assert bits(frozen(x)) == expected
        assert bits(w.grad) == grad
    text = frozen.explain()
    assert "mul+tanh+mul" in text
    assert "elementwise_backward+" in text


# ---- A loss and its gradient -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 511, 513, 5000, 300_000])
@pytest.mark.parametrize("kind", ["mse mean", "mse sum", "cross entropy", "smoothed"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_loss_with_its_gradient_has_the_bits_of_both(n: int, kind: str, dtype: str) -> None:
    d = getattr(unspool, dtype)
    w = unspool.ones(n if kind.startswith("mse") else (n // 8 + 1, 8), dtype=d, requires_grad=True)

    def loss_of(y: Any, target: Any) -> Any:
        if kind.startswith("mse"):
            return F.mse_loss(y, target, reduction=kind[4:])
        return F.cross_entropy(y, target, label_smoothing=0.1 if kind == "smoothed" else 0.0, ignore_index=2)

    def step(x: Any, target: Any) -> Any:
        w.grad = None
        loss = loss_of(w * x, target)
        (loss * 3).backward()
        return loss

    frozen = unspool.compile(step)
    for _ in range(4):
        x = unspool.randn(w.shape, dtype=d)
        target = unspool.randn(n, dtype=d) if kind.startswith("mse") else unspool.randint(0, 8, (w.shape[0],))
        expected, grad = bits(step(x, target)), bits(w.grad)
        assert bits(frozen(x, target)) == expected
        assert bits(w.grad) == grad
    assert "_with_gradient" in frozen.explain()


def test_a_loss_that_is_read_before_its_gradient_is_not_joined() -> None:
    w = unspool.ones(6, requires_grad=True)

    def step(x: Any, kept: Any) -> Any:
        w.grad = None
        loss = F.mse_loss(w * x, x * 2)
        kept += loss.detach()
        loss.backward()
        return loss.detach()

    frozen = unspool.compile(step)
    for _ in range(4):
        x, kept, copy = unspool.randn(6), unspool.zeros(1), unspool.zeros(1)
        expected, grad = bits(step(x, kept)), bits(w.grad)
        assert (bits(frozen(x, copy)), bits(w.grad), bits(copy)) == (expected, grad, bits(kept))
    assert "_with_gradient" not in frozen.explain()


# ---- A gradient and the update it is for -----------------------------------------------------------------------------


_UPDATES: dict[str, Callable[..., Any]] = {
    "SGD": lambda ps: optim.SGD(ps, lr=0.01),
    "momentum": lambda ps: optim.SGD(ps, lr=0.01, momentum=0.9, weight_decay=0.1, nesterov=True),
    "Adam": lambda ps: optim.Adam(ps, lr=0.01, amsgrad=True),
    "AdamW": lambda ps: optim.AdamW(ps, lr=0.01),
    "RMSprop": lambda ps: optim.RMSprop(ps, lr=0.01, momentum=0.5, centered=True),
}


def _updating(
    optimizer: str, dtype: Any, freeze: bool, sizes: tuple[int, ...], batch: int, keep: bool = False
) -> tuple[Any, str]:
    unspool.manual_seed(0)
    layers = [part for n, m in itertools.pairwise(sizes) for part in (nn.Linear(n, m), nn.ReLU())][:-1]
    model = nn.Sequential(*layers).to(dtype)
    opt = _UPDATES[optimizer](model.parameters())
    schedule = optim.lr_scheduler.StepLR(opt, 1, 0.5)

    def step(x: Any, y: Any) -> Any:
        if keep:
            opt.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        opt.step()
        if not keep:
            opt.zero_grad()
        return loss

    run = unspool.compile(step) if freeze else step
    seen = []
    for _ in range(5):
        x, y = unspool.randn(batch, sizes[0], dtype=dtype), unspool.randn(batch, sizes[-1], dtype=dtype)
        seen.append(bits(run(x, y)))
        seen += [bits(p.grad) for p in model.parameters() if keep]
        schedule.step()
    seen += [*map(bits, model.parameters())]
    seen += [bits(t) for s in opt.state.values() for t in s.values() if unspool.is_tensor(t)]
    return seen, run.explain() if freeze else ""


@pytest.mark.parametrize("optimizer", _UPDATES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sizes", [(3, 1, 5), (10, 40, 40, 5), (600, 700, 300)], ids=str)
@pytest.mark.parametrize("keep", [False, True], ids=["dropped", "kept"])
def test_an_update_within_the_product_has_the_bits_of_both(
    optimizer: str, dtype: str, sizes: tuple[int, ...], keep: bool
) -> None:
    d = getattr(unspool, dtype)
    expected, _ = _updating(optimizer, d, False, sizes, 20, keep)
    seen, text = _updating(optimizer, d, True, sizes, 20, keep)
    assert seen == expected
    assert text.count("linear_backward+") == len(sizes) - 1
    threads, threshold = unspool.get_num_threads(), _core._set_parallel_threshold(0)
    try:
        unspool.set_num_threads(3)
        assert _updating(optimizer, d, True, sizes, 20, keep)[0] == expected
    finally:
        unspool.set_num_threads(threads)
        _core._set_parallel_threshold(threshold)


@pytest.mark.parametrize("order", ["kept", "clipped", "shared", "read"])
def test_an_update_stays_where_its_gradient_or_weight_is_seen(order: str) -> None:
    def run(freeze: bool) -> tuple[Any, str]:
        unspool.manual_seed(0)
        first, second = nn.Linear(6, 6), nn.Linear(6, 6)
        if order == "shared":
            second.weight = first.weight
        params = list({id(p): p for p in (*first.parameters(), *second.parameters())}.values())
        opt = optim.SGD(params, lr=0.1, momentum=0.9)

        def step(x: Any) -> Any:
            loss = second(first(x)).square().mean()
            loss.backward()
            if order == "clipped":
                nn.utils.clip_grad_norm_(params, 1.0)
            before = second.weight.detach().sum() if order == "read" else loss.detach()
            opt.step()
            if order != "kept":
                opt.zero_grad()
            return loss.detach(), before

        run = unspool.compile(step) if freeze else step
        seen = [bits(t) for _ in range(5) for t in run(unspool.randn(4, 6))]
        return [*seen, *map(bits, params)], run.explain() if freeze else ""

    seen, text = run(True)
    assert seen == run(False)[0]
    assert text.count("linear_backward+") == {"kept": 0, "clipped": 0, "shared": 0, "read": 1}[order]


@pytest.mark.parametrize("first", ["masked", "skip"])
def test_a_gradient_that_is_read_again_is_not_masked_where_it_lies(first: str) -> None:
    """A ReLU's mask is applied in place to a gradient that nobody reads afterwards; here a skip connection may."""

    def run(freeze: bool) -> list[Any]:
        unspool.manual_seed(0)
        layers = [nn.Sequential(nn.Linear(6, 40), nn.ReLU()), nn.Linear(6, 40)]
        last = nn.Linear(40, 3)
        params = [p for layer in (*layers, last) for p in layer.parameters()]
        a, b = layers if first == "masked" else layers[::-1]

        def step(x: Any) -> Any:
            for p in params:
                p.grad = None
            loss = last(a(x) + b(x)).square().mean()
            loss.backward()
            return loss

        function = unspool.compile(step) if freeze else step
        return [bits(t) for _ in range(4) for t in (function(unspool.randn(10, 6)), *(p.grad for p in params))]

    assert run(True) == run(False)


@pytest.mark.parametrize("layers", [True, False], ids=["joined", "moved"])
def test_an_update_passes_nothing_that_may_raise(layers: bool) -> None:
    """That of a layer is joined to its gradient; a large one of another product comes right after it."""

    def run(look_up: bool) -> tuple[list[str], list[Any], Any]:
        unspool.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 130, bias=False), nn.Linear(130, 130, bias=False))
        weights, table = list(model.parameters()), unspool.randn(5, 2)
        opt = optim.SGD(weights, lr=0.1)

        @unspool.compile
        def step(x: Any, rows: Any) -> Any:
            opt.zero_grad()
            y = model(x) if layers else x @ weights[0].T @ weights[1].T
            y.square().mean().backward()
            seen = F.embedding(rows, table) if look_up else rows
            opt.step()
            return seen

        for _ in range(4):
            step(unspool.randn(4, 6), unspool.tensor([0, 4]))
        pattern = r"^\d+: .*? = (linear_backward\S*?|matmul_batched|sgd_update|indexed_places)\("
        return re.findall(pattern, step.explain(), re.MULTILINE), weights, step

    layer, update = "linear_backward" if layers else "matmul_batched", "sgd_update"
    forward = 0 if layers else 2
    names, params, step = run(look_up=True)
    assert names == [*[layer] * (forward + (2 if layers else 3)), "indexed_places", update, update]
    moved = [f"{layer}+{update}"] * 2 if layers else [*[layer] * 4, update, layer, update]
    assert run(look_up=False)[0] == moved
    before = [*map(bits, params)]
    with pytest.raises(IndexError):
        step(unspool.randn(4, 6), unspool.tensor([0, 5]))
    assert [*map(bits, params)] == before
