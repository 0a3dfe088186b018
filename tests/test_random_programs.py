"""Random programs, run by PyTorch and by unspool: values, first and second gradients in float64.

A program is 3 to 30 steps on a list of tensors: maps, products, reductions, views, indexing, writes in place, with
results used again. PyTorch chooses what is possible (a step that it refuses is left out); then unspool runs the same
steps. 300 programs by default; `UNSPOOL_PROGRAMS=10000` makes it a campaign.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import unspool

RTOL = 1e-10
PROGRAMS = int(os.environ.get("UNSPOOL_PROGRAMS", "300"))
SIZE = 60  # elements of the largest tensor
BOUND = 1e3  # of a value: above it the next step squashes, so that 1e-10 stays meaningful

# A step takes the library and its operands; it returns a new tensor, or None after a write in place.
Step = Callable[[Any, list[Any]], Any]
Maker = Callable[[random.Random, list[Any]], Step | None]

UNARY = ("sin", "cos", "tanh", "sigmoid", "square", "neg", "abs", "relu", "erf", "expm1", "log1p", "exp", "sqrt",
         "rsqrt", "log", "atan", "floor", "clone", "detach", "reciprocal")  # fmt: skip
POSITIVE = {"log1p", "sqrt", "rsqrt", "log", "reciprocal"}
BINARY = ("add", "sub", "mul", "maximum", "minimum", "atan2", "where", "div", "lerp", "addcmul")
INPLACE = ("mul_", "add_", "sub_", "copy_", "fill_", "zero_", "tanh_", "neg_", "sin_", "exp_", "div_")


def pick(r: random.Random, live: list[Any], *, dims: int = 0) -> int | None:
    fitting = [i for i, t in enumerate(live) if t.dim() >= dims]
    return r.choice(fitting) if fitting else None


def unary(r: random.Random, live: list[Any]) -> Step:
    i, name = r.randrange(len(live)), r.choice(UNARY)
    big = live[i].numel() and float(live[i].detach().abs().max()) > 3.0

    def step(m: Any, v: list[Any]) -> Any:
        x = v[i]
        if name in POSITIVE:
            x = x * x + 0.5
        elif name in ("exp", "expm1") and big:
            x = m.tanh(x)
        return getattr(x, name)()

    return step


def binary(r: random.Random, live: list[Any]) -> Step:
    i, j, name = r.randrange(len(live)), r.randrange(len(live)), r.choice(BINARY)

    def step(m: Any, v: list[Any]) -> Any:
        a, b = v[i], v[j]
        if name == "where":
            return m.where(a > b.detach(), a, b)
        if name == "div":
            return a / (b * b + 1.0)
        if name == "lerp":
            return m.lerp(a, b, 0.25)
        if name == "addcmul":
            return m.addcmul(a, a, b, value=0.5)
        if name == "atan2":
            return m.atan2(a, b * b + 1.0)
        return getattr(m, name)(a, b)

    return step


def product(r: random.Random, live: list[Any]) -> Step:
    i, j, name = r.randrange(len(live)), r.randrange(len(live)), r.choice(["matmul", "linear", "outer"])

    def step(m: Any, v: list[Any]) -> Any:
        a, b = v[i], v[j]
        if name == "linear" and b.dim() == 2:
            return m.nn.functional.linear(a, b)
        if name == "outer":
            return m.outer(a.reshape(-1)[:5], b.reshape(-1)[:4])
        return m.matmul(a, b)

    return step


def reduction(r: random.Random, live: list[Any]) -> Step | None:
    i = pick(r, live, dims=1)
    if i is None:
        return None
    dim, keepdim = r.randrange(-live[i].dim(), live[i].dim()), r.random() < 0.5
    name = r.choice(["sum", "mean", "amax", "logsumexp", "var", "prod", "norm", "max", "median", "softmax",
                     "log_softmax", "cumsum", "cumprod", "sort", "topk", "flip", "std"])  # fmt: skip

    def step(m: Any, v: list[Any]) -> Any:
        x = v[i]
        if name in ("softmax", "log_softmax", "cumsum"):
            return getattr(x, name)(dim)
        if name == "flip":
            return x.flip((dim,))
        if name == "cumprod":
            return m.tanh(x).cumprod(dim)
        if name == "prod":
            return m.tanh(x).prod(dim, keepdim)
        if name == "sort":
            return x.sort(dim, stable=True)[0]
        if name == "topk":
            return x.topk(1, dim)[0]
        if name in ("norm", "std"):
            return (x * x + 0.1 * m.arange(x.numel(), dtype=x.dtype).reshape(x.shape)).norm(dim=dim, keepdim=keepdim)
        if name in ("max", "median"):  # PyTorch 2.13's median reads past an expanded tensor
            return getattr(x.contiguous(), name)(dim, keepdim)[0]
        if name in ("var",):
            return x.var(dim, correction=0, keepdim=keepdim)
        return getattr(x, name)(dim, keepdim)

    return step


def part(r: random.Random, n: int) -> slice:
    start = r.randrange(n) if n else 0
    return slice(start, r.randrange(start, n) + 1 if n else 0, r.choice([None, None, 2]))


def view(r: random.Random, live: list[Any]) -> Step | None:
    i = pick(r, live, dims=1)
    if i is None:
        return None
    t = live[i]
    dim = r.randrange(t.dim())
    name = r.choice(["transpose", "flatten", "slice", "select", "unsqueeze", "permute", "narrow", "diagonal", "unbind",
                     "split", "chunk", "expand", "squeeze", "view", "movedim", "unflatten"])  # fmt: skip
    other, where = r.randrange(t.dim()), part(r, t.shape[dim])
    order = list(range(t.dim()))
    r.shuffle(order)
    at = r.randrange(t.shape[dim]) if t.shape[dim] else 0

    def step(m: Any, v: list[Any]) -> Any:
        x = v[i]
        if name in ("transpose", "movedim"):
            return getattr(x, name)(dim, other)
        if name == "flatten":
            return x.reshape(-1)
        if name == "slice":
            return x[(slice(None),) * dim + (where,)]
        if name == "select":
            return x.select(dim, at)
        if name == "unsqueeze":
            return x.unsqueeze(dim)
        if name == "permute":
            return x.permute(order)
        if name == "narrow":
            return x.narrow(dim, at, 1)
        if name == "diagonal":
            return x.diagonal(0, dim, other)
        if name == "unbind":
            return x.unbind(dim)[at]
        if name == "split":
            return x.split(2, dim)[0]
        if name == "chunk":
            return x.chunk(2, dim)[-1]
        if name == "expand":
            return x.unsqueeze(0).expand(2, *x.shape)
        if name == "view":
            return x.contiguous().view(-1)
        if name == "unflatten":
            return x.unflatten(dim, (1, -1))
        return x.squeeze()

    return step


def mixed_index(r: random.Random, shape: Any) -> tuple[Any, ...]:
    """Arrays, masks, slices and numbers, for as many dims as it likes."""
    index: list[Any] = []
    length = r.randrange(1, 4)
    for n in shape:
        choice = r.randrange(5)
        if choice == 0 and n:
            index.append([r.randrange(-n, n) for _ in range(length)])
        elif choice == 1 and n:
            index.append(r.randrange(n))
        elif choice == 2:
            index.append(part(r, n))
        elif choice == 3:
            break
        else:
            index.append(slice(None))
    if r.random() < 0.2:
        index.insert(r.randrange(len(index) + 1), None)
    return tuple(index)


def at(m: Any, index: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(m.tensor(part) if isinstance(part, list) else part for part in index)


def indexing(r: random.Random, live: list[Any]) -> Step | None:
    i = pick(r, live, dims=1)
    if i is None:
        return None
    index = mixed_index(r, live[i].shape)
    dim = r.randrange(live[i].dim())
    n = live[i].shape[dim]
    if n == 0:
        return None
    rows = [r.randrange(n) for _ in range(r.randrange(1, 4))]
    name = r.choice(["index", "index", "select", "gather", "mask", "masked_fill", "roll", "tril", "index_add", "cat",
                     "stack", "repeat", "scatter_add", "take_along_dim"])  # fmt: skip

    def step(m: Any, v: list[Any]) -> Any:
        x = v[i]
        if name == "select":
            return x.index_select(dim, m.tensor(rows))
        if name == "gather":
            return x.gather(dim, m.zeros(tuple(x.shape), dtype=m.int64) + rows[0])
        if name == "take_along_dim":
            return m.take_along_dim(x, x.detach().argsort(dim, stable=True), dim)
        if name == "scatter_add":
            return x.scatter_add(dim, m.zeros(tuple(x.shape), dtype=m.int64) + rows[0], x * 0.5)
        if name == "mask":
            return x[x.detach() > 0.1]
        if name == "masked_fill":
            return x.masked_fill(x.detach() > 0.1, 0.25)
        if name == "roll":
            return x.roll(1, dim)
        if name == "tril":
            return x.tril()
        if name == "index_add":
            return x.index_add(dim, m.tensor([rows[0]]), x.narrow(dim, 0, 1))
        if name == "cat":
            return m.cat([x, x.narrow(dim, 0, 1)], dim)
        if name == "stack":
            return m.stack([x, x.detach() - 1.5], dim)  # no ties: which of them topk names is not defined
        if name == "repeat":
            return x.repeat_interleave(2, dim)
        return x[at(m, index)]

    return step


def write(r: random.Random, live: list[Any]) -> Step:
    i, j, name = r.randrange(len(live)), r.randrange(len(live)), r.choice([*INPLACE, "index", "masked", "row", "value"])
    index = mixed_index(r, live[i].shape)
    number = r.choice([0.5, -1.25, 2.0])

    def step(m: Any, v: list[Any]) -> Any:
        x, y = v[i], v[j]
        if name == "index":
            x[at(m, index)] = number
        elif name == "value":  # of its own memory PyTorch reads what it has just written, unspool what was there
            shared = x.untyped_storage().data_ptr() == y.untyped_storage().data_ptr()
            x[at(m, index)] = y.clone() if shared else y
        elif name == "masked":
            x.masked_fill_(x.detach() > 0.2, number)
        elif name == "row":
            x[0].mul_(number)
        elif name in ("mul_", "div_"):
            getattr(x, name)(number)
        elif name == "fill_":
            x.fill_(number)
        elif name in ("add_", "sub_", "copy_"):
            getattr(x, name)(m.tanh(y))
        else:
            getattr(x, name)()

    return step


MAKERS: list[Maker] = [unary, unary, binary, binary, product, reduction, view, view, indexing, write, write]


def leaves(m: Any, shapes: list[tuple[int, ...]], seed: int) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [m.tensor(rng.uniform(-1, 1, shape), dtype=m.float64, requires_grad=True) for shape in shapes]


def live_of(m: Any, xs: list[Any]) -> list[Any]:
    return [x * 1.0 for x in xs]


def apply(m: Any, step: Step, live: list[Any]) -> None:
    y = step(m, live)
    if y is not None:
        live.append(y)


def chosen(r: random.Random, m: Any, shapes: list[tuple[int, ...]], seed: int) -> list[Step]:
    """The steps that PyTorch takes, of those that chance proposes."""
    xs = leaves(m, shapes, seed)
    live, steps = live_of(m, xs), list[Step]()
    for _ in range(r.randrange(3, 31)):
        step = r.choice(MAKERS)(r, live)
        if step is None:
            continue
        # A step may fail half-way only before its write: every write is a step's last action.
        before = len(live)
        try:
            apply(m, step, live)
        except (RuntimeError, IndexError, ValueError, TypeError):
            continue
        steps.append(step)
        if len(live) == before:
            continue
        last = live[-1]
        wild = last.numel() and not float(last.detach().abs().max()) < BOUND
        if last.numel() > SIZE or wild:
            shrink = squashed(len(live) - 1)
            apply(m, shrink, live)
            steps.append(shrink)
    return steps


def squashed(i: int) -> Step:
    return lambda m, v: m.tanh(v[i].reshape(-1)[:SIZE] * 1e-2)


def outcome(m: Any, steps: list[Step], shapes: list[tuple[int, ...]], seed: int) -> list[list[Any]]:
    """Values, gradients, second gradients; None where nothing flows."""
    xs = leaves(m, shapes, seed)
    live = live_of(m, xs)
    for step in steps:
        apply(m, step, live)
    values = [t.detach().numpy().copy() for t in live]
    # Where elements lie decides what a later reshape shares.
    values += [np.array([k for n, k in zip(t.shape, t.stride(), strict=True) if n != 1 and t.numel()]) for t in live]
    total = sum(((t * t).sum() * (0.1 + 0.01 * i) + t.sum() for i, t in enumerate(live)), m.zeros((), dtype=m.float64))
    if not total.requires_grad:
        return [values, [], []]
    first = m.autograd.grad(total, xs, create_graph=True, allow_unused=True)
    curved = [(g * g).sum() for g in first if g is not None and g.requires_grad]
    second = m.autograd.grad(sum(curved), xs, allow_unused=True) if curved else []
    return [values, *([None if g is None else g.detach().numpy() for g in gs] for gs in (first, second))]


def agree(mine: list[Any], theirs: list[Any], what: str) -> None:
    for k in range(max(len(mine), len(theirs))):
        a = mine[k] if k < len(mine) else None
        b = theirs[k] if k < len(theirs) else None
        if a is None or b is None:  # no gradient and a gradient of zeros are the same
            np.testing.assert_array_equal(0.0 if a is None else a, 0.0 if b is None else b, what)
            continue
        assert a.shape == b.shape, what
        a = np.where(np.isnan(b), b, a)  # PyTorch's norm has NaN for a second gradient at 0, where ours is finite
        scale = np.abs(b[np.isfinite(b)]).max(initial=1.0)
        np.testing.assert_allclose(a, b, rtol=RTOL, atol=RTOL * scale, err_msg=f"{what} {k}")


def compare(r: random.Random, torch: Any) -> None:
    seed = r.randrange(1 << 16)
    shapes = [r.choice([(3, 3), (2, 3), (3,), (), (4, 3), (1, 3), (2, 2, 3)]) for _ in range(r.randrange(1, 4))]
    steps = chosen(r, torch, shapes, seed)
    theirs = None
    while theirs is None:
        try:
            theirs = outcome(torch, steps, shapes, seed)
        except (IndexError, ValueError):
            return  # without a write that went, a shape that depends on values is another
        except RuntimeError:
            # Backward met a tensor that was overwritten: the last write goes, until PyTorch has a gradient.
            last = max((i for i, step in enumerate(steps) if step.__qualname__.startswith("write")), default=None)
            if last is None:
                return
            del steps[last]
    if not all(np.isfinite(value).all() for value in theirs[0]):
        return  # what happens to infinity is the subject of test_special_values.py
    try:
        mine = outcome(unspool, steps, shapes, seed)
    except RuntimeError as error:
        # PyTorch reads a copy of a broadcast or transposed operand of a product; unspool reads the operand itself, and
        # says that it was overwritten.
        if re.match("(mat)?mul.*modified by an inplace operation", str(error)):
            return
        raise
    for kind, a, b in zip(("value", "gradient", "second gradient"), mine, theirs, strict=True):
        agree(a, b, kind)


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=PROGRAMS, suppress_health_check=list(HealthCheck))
@given(r=st.randoms(use_true_random=False))
def test_a_random_program_has_pytorchs_values_and_gradients(r: random.Random, torch: Any) -> None:
    compare(r, torch)
