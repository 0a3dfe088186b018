"""Is this build right on this machine? `python -m unspool check` calls `run`; CHECKS says what is looked at.

Each check compares with something that the library had no part in: digits that PyTorch printed, differences of values,
whole numbers, NumPy. It returns what it did and raises AssertionError, with the figures, where something is wrong.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

import unspool as torch
import unspool.nn.functional as F
from unspool import nn

__all__ = ["CHECKS", "run"]


def random_stream() -> str:
    """The first draws of seed 0, as PyTorch 2.13 gives them."""

    def seeded() -> Any:
        return torch.Generator().manual_seed(0)

    drawn = {
        "rand": (torch.rand(3, generator=seeded()), [0.49625658988952637, 0.7682217955589294, 0.08847743272781372]),
        "randn": (torch.randn(3, generator=seeded()), [1.5409960746765137, -0.293428897857666, -2.1787893772125244]),
        "randn of 16": (
            torch.randn(16, generator=seeded())[::5],
            [-1.1258398294448853, 0.6920091509819031, 0.34998318552970886, -0.2472781538963318],
        ),
        "randperm": (torch.randperm(10, generator=seeded()), [4, 1, 7, 5, 3, 9, 0, 8, 6, 2]),
    }
    for name, (ours, theirs) in drawn.items():
        assert ours.tolist() == theirs, f"{name} of seed 0 is {ours.tolist()}, PyTorch's {theirs}"
    return f"{', '.join(drawn)}: PyTorch's digits"


# One member of each family of operations, as functions of float64 tensors x, y of shape (3, 4) with entries around 1.
GRADIENTS: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda x, y: x + 2 * y,
    "mul": lambda x, y: x * y,
    "div": lambda x, y: x / y,
    "pow": lambda x, y: x**y,
    "exp": lambda x, y: (x - y).exp(),
    "log": lambda x, y: x.log() + y.log1p(),
    "sqrt": lambda x, y: (x * y).sqrt(),
    "tanh": lambda x, y: (x - y).tanh(),
    "sigmoid": lambda x, y: (x - y).sigmoid(),
    "erf": lambda x, y: (x - y).erf(),
    "relu": lambda x, y: (x - y).relu(),
    "gelu": lambda x, y: F.gelu(x - y),
    "where": lambda x, y: torch.where(x > y, x, y * y),
    "sum": lambda x, y: x.sum(0) * y.sum(1, keepdim=True),
    "mean": lambda x, y: (x * y).mean(1),
    "var": lambda x, y: (x * y).var(0),
    "prod": lambda x, y: (x - y).prod(1),
    "max": lambda x, y: (x * y).max(1).values,
    "logsumexp": lambda x, y: (x * y).logsumexp(1),
    "cumsum": lambda x, y: (x * y).cumsum(1),
    "norm": lambda x, y: (x - y).norm(),
    "matmul": lambda x, y: x @ y.T,
    "linear": lambda x, y: F.linear(x, y, x[:, 0]),
    "einsum": lambda x, y: torch.einsum("ij,kj->ik", x, y),
    "softmax": lambda x, y: (x * y).softmax(1),
    "cross_entropy": lambda x, y: F.cross_entropy(x - y, torch.tensor([0, 3, 1])),
    "mse_loss": lambda x, y: F.mse_loss(x, y),
    "layer_norm": lambda x, y: F.layer_norm(x, (4,), y[0], y[1]),
    "batch_norm": lambda x, y: F.batch_norm(x, None, None, y[0], y[1], training=True),
    "cat": lambda x, y: torch.cat([x, y]).T,
    "index": lambda x, y: x[[0, 2, 2]] * y[:, 1:2],
    "gather": lambda x, y: x.gather(1, torch.tensor([[0], [3], [3]])) * y,
    "transpose": lambda x, y: x.T.reshape(3, 4) * y,
    "sort": lambda x, y: (x * y).sort(1).values,
}


def gradients() -> str:
    """Gradients against central differences along a random direction, in float64."""
    rng = np.random.default_rng(0)
    step = 1e-6
    for name, fn in GRADIENTS.items():
        points = [rng.uniform(0.5, 1.5, (3, 4)) for _ in range(2)]
        ways = [rng.standard_normal((3, 4)) for _ in range(2)]
        inputs = [torch.tensor(p, requires_grad=True) for p in points]
        y = fn(*inputs)
        weights = rng.standard_normal(tuple(y.shape))
        y.backward(torch.tensor(weights))
        slope = sum(float((x.grad.numpy() * w).sum()) for x, w in zip(inputs, ways, strict=True))

        def along(t: float, fn: Any = fn, points: Any = points, ways: Any = ways, weights: Any = weights) -> float:
            moved = [torch.tensor(p + t * w) for p, w in zip(points, ways, strict=True)]
            return float((fn(*moved).numpy() * weights).sum())

        expected = (along(step) - along(-step)) / (2 * step)
        error = abs(slope - expected)
        assert error <= 1e-6 * max(1.0, abs(expected)), f"{name}: gradient {slope:.9g}, differences {expected:.9g}"
    return f"{len(GRADIENTS)} operations against central differences"


def products() -> str:
    """Matrix products of small whole numbers, which have no rounding, in all transposes."""
    rng = np.random.default_rng(1)
    sizes = [(1, 1, 1), (3, 5, 7), (8, 8, 8), (17, 31, 33), (64, 64, 64), (10, 40, 40), (130, 67, 259)]
    for m, n, k in sizes:
        a, b = rng.integers(-8, 9, (m, k)), rng.integers(-8, 9, (k, n))
        exact = a @ b
        for dtype in (torch.float32, torch.float64):
            x, y = torch.tensor(a, dtype=dtype), torch.tensor(b, dtype=dtype)
            for left in (x, x.T.contiguous().T):
                for right in (y, y.T.contiguous().T):
                    wrong = int((left @ right).numpy().astype(np.int64).__ne__(exact).sum())
                    assert wrong == 0, f"{dtype} product {m}×{k} by {k}×{n}: {wrong} of {m * n} entries are wrong"
    return f"{len(sizes)} sizes, 2 dtypes, 4 transposes: exact in whole numbers"


def _digest(threads: int) -> bytes:
    """The bits of a large training step on so many threads."""
    torch.set_num_threads(threads)
    g = torch.Generator().manual_seed(2)
    w = torch.randn(256, 320, generator=g).requires_grad_()
    x = torch.randn(512, 320, generator=g)
    loss = F.gelu(F.linear(x, w)).softmax(1).square().sum()
    loss.backward()
    return bytes(w.grad.numpy().tobytes() + np.float32(loss.item()).tobytes())


def threads() -> str:
    """The same bits on any number of threads."""
    before, counts = torch.get_num_threads(), (2, 3, 4)
    try:
        one = _digest(1)
        different = [n for n in counts if _digest(n) != one]
    finally:
        torch.set_num_threads(before)
    assert not different, f"a step on {different} threads differs from one thread's"
    return "the same bits on 1, 2, 3 and 4 threads"


def training() -> str:
    """Steps of SGD with momentum on a small network, against the same by hand in NumPy."""
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((16, 5)), rng.standard_normal((16, 2))
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 2)).double()
    hand = [p.detach().numpy().copy() for p in model.parameters()]
    velocity = [np.zeros_like(p) for p in hand]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = nn.MSELoss()(model(torch.tensor(x)), torch.tensor(y))
        loss.backward()
        optimizer.step()
        w1, b1, w2, b2 = hand
        h = np.maximum(x @ w1.T + b1, 0)  # (16×5)·(5×8) → (16×8)
        error = h @ w2.T + b2 - y  # (16×8)·(8×2) → (16×2)
        g = 2 * error / error.size
        gh = (g @ w2) * (h > 0)  # (16×2)·(2×8) → (16×8)
        slopes = [gh.T @ x, gh.sum(0), g.T @ h, g.sum(0)]
        velocity = [0.9 * v + s for v, s in zip(velocity, slopes, strict=True)]
        hand = [p - 0.05 * v for p, v in zip(hand, velocity, strict=True)]
        losses.append(loss.item())
        off = max(abs(p.detach().numpy() - q).max() for p, q in zip(model.parameters(), hand, strict=True))
        assert off < 1e-10, f"step {len(losses)}: a weight is off by {off:.3g}"
    assert losses[-1] < losses[0], f"the loss went from {losses[0]:.3g} to {losses[-1]:.3g}"
    return "30 steps of SGD as by hand in NumPy"


def memory() -> str:
    """NumPy shares memory with tensors both ways; views write through."""
    a = np.zeros((2, 3), np.float32)
    t = torch.from_numpy(a)
    t[:, 1] = 5
    t.numpy()[1, 2] = 7
    assert a.tolist() == [[0, 5, 0], [0, 5, 7]], f"the shared array is {a.tolist()}"
    return "arrays shared with NumPy, views written through"


CHECKS: dict[str, Callable[[], str]] = {
    "random stream": random_stream,
    "gradients": gradients,
    "matrix products": products,
    "threads": threads,
    "training": training,
    "memory": memory,
}


def run() -> int:
    """Do all checks, print a line for each, and return the exit status: 0, or 1 where one failed."""
    begun, failed = time.perf_counter(), 0
    for name, check in CHECKS.items():
        try:
            print(f"{name:<16} ok      {check()}")
        except Exception as error:  # a broken build may raise anything
            failed += 1
            print(f"{name:<16} FAILED  {type(error).__name__}: {error}")
    took = time.perf_counter() - begun
    print(
        f"{failed} of {len(CHECKS)} checks failed" if failed else f"all {len(CHECKS)} checks passed", f"in {took:.1f} s"
    )
    return int(failed > 0)
