"""x[…] and x[…] = y beside PyTorch: random mixtures of numbers, slices, None, Ellipsis, index tensors, masks."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

import unspool

SHAPES = [(3,), (2, 3), (3, 4, 2), (2, 1, 3), (0, 3), (), (2, 3, 2, 2)]


def random_index(r: random.Random, shape: tuple[int, ...]) -> list[Any]:
    """Arrays stand for what becomes a tensor, a list or a NumPy array."""
    index: list[Any] = []
    dim, length = 0, r.choice([1, 2, 3])
    while dim < len(shape) and r.random() < 0.85:
        choice, n = r.randrange(9), shape[dim]
        if choice == 0:
            index.append(r.choice([slice(None), slice(1, None), slice(0, 3, 2)]))
        elif choice == 1 and n:
            index.append(r.randrange(-n, n))
        elif choice in (2, 3) and n:
            index.append(np.array([r.randrange(-n, n) for _ in range(length)]))
        elif choice == 4:
            index.append(np.array([r.random() < 0.5 for _ in range(n)], bool))
        elif choice == 5:
            index.append(None)
            dim -= 1
        elif choice == 6 and ... not in [i for i in index if not isinstance(i, np.ndarray)]:
            index.append(...)
            dim = len(shape)
        elif choice == 7 and dim + 1 < len(shape):
            index.append(
                np.array([r.random() < 0.5 for _ in range(n * shape[dim + 1])], bool).reshape(n, shape[dim + 1])
            )
            dim += 1
        elif choice == 8:
            index.append(r.random() < 0.5)
            dim -= 1
        dim += 1
    return index


def spelt(m: Any, index: list[Any], form: str) -> Any:
    def one(part: Any) -> Any:
        if not isinstance(part, np.ndarray):
            return part
        return m.tensor(part) if form == "tensor" or part.size == 0 else part if form == "array" else part.tolist()

    return one(index[0]) if len(index) == 1 else tuple(one(part) for part in index)


def outcome(m: Any, data: Any, index: Any) -> list[Any]:
    """What is read, its gradient; what is written, the gradients of base and value."""
    x = m.tensor(data, requires_grad=True)
    y = x[index]
    (y * y).sum().backward()
    w = m.tensor(data, requires_grad=True)
    z = w * 3.0
    v = m.tensor(np.random.default_rng(1).normal(size=tuple(y.shape)), requires_grad=True)
    z[index] = v
    (z * z).sum().backward()
    grads = [np.zeros(tuple(t.shape)) if t.grad is None else t.grad.numpy() for t in (x, w, v)]
    return [y.detach().numpy(), z.detach().numpy(), *grads]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(6))
def test_a_random_index_reads_and_writes_what_pytorch_does(seed: int, torch: Any) -> None:
    r = random.Random(seed)
    for k in range(250):
        shape = r.choice(SHAPES)
        data = np.random.default_rng(k).normal(size=shape)
        index, form = random_index(r, shape), r.choice(["tensor", "list", "array"])
        try:
            theirs = outcome(torch, data, spelt(torch, index, form))
        except Exception:
            with pytest.raises((IndexError, TypeError, ValueError, RuntimeError)):
                outcome(unspool, data, spelt(unspool, index, form))
            continue
        try:
            mine = outcome(unspool, data, spelt(unspool, index, form))
        except ValueError as error:
            if "at most 8 dimensions" in str(error):
                continue
            raise
        for a, b in zip(mine, theirs, strict=True):
            assert a.shape == b.shape, (shape, index, form)
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12, err_msg=f"{shape} {index} {form}")


BAD: list[tuple[Any, type[Exception], str]] = [
    ([0, 3], IndexError, "index 3 is out of bounds for dimension 0 with size 2"),
    ((slice(None), [0, -4]), IndexError, "index -4 is out of bounds for dimension 1 with size 3"),
    ([True, False, True], IndexError, r"shape of the mask \(3,\)"),
    (([0, 1], [0, 1, 2]), ValueError, "broadcast"),
    ([0.5], IndexError, "long, int, byte or bool"),
    ("a", TypeError, "'a'"),
    (1.5, IndexError, "1.5"),
    ((0, 0, 0), IndexError, "too many indices"),
    (slice(None, None, -1), ValueError, "step must be greater than zero, got -1"),
]


@pytest.mark.parametrize(("index", "kind", "text"), BAD)
def test_a_bad_index_says_what_is_wrong_and_changes_nothing(index: Any, kind: type[Exception], text: str) -> None:
    x = unspool.arange(6.0).reshape(2, 3)
    with pytest.raises(kind, match=text):
        x[index]
    with pytest.raises(kind, match=text):
        x[index] = 7.0
    assert x.tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    assert x._version == 0


def test_a_value_that_does_not_fit_changes_nothing() -> None:
    x = unspool.zeros(2, 3)
    with pytest.raises(ValueError, match=r"value of shape \(4,\) cannot be broadcast.* \(2, 3\)"):
        x[[0, 1]] = unspool.ones(4)
    assert not x.any()


def test_a_write_through_the_same_memory_reads_it_first() -> None:
    x = unspool.arange(5)
    x[[0, 1, 2, 3]] = x[1:]
    assert x.tolist() == [1, 2, 3, 4, 4]
    x[[4, 3, 2, 1, 0]] = x
    assert x.tolist() == [4, 4, 3, 2, 1]


def test_writes_at_an_index_count_and_leaves_refuse_them() -> None:
    x = unspool.zeros(4)
    x[[0, 2]] = 1
    x[x > 0] += 1
    assert (x.tolist(), x._version) == ([2, 0, 2, 0], 2)
    with pytest.raises(RuntimeError, match="leaf"):
        unspool.zeros(3, requires_grad=True)[[0]] = 1.0
