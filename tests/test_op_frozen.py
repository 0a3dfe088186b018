"""The op table, op by op, frozen: the bits of the eager call, forward and backward."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import unspool
from op_cases import Case, Problem, cases, differentiable, drawn, laid_out, run


def tensors_of(result: Any) -> list[Any]:
    if unspool.is_tensor(result):
        return [result]
    return [t for part in result for t in tensors_of(part)] if isinstance(result, (tuple, list)) else []


def bits(t: Any) -> bytes | None:
    return None if t is None else t.detach().contiguous().numpy().tobytes()


def is_determined(case: Case) -> bool:
    return not case.name.startswith("empty")


@pytest.mark.parametrize("case", cases(is_determined))
def test_frozen_forward_has_the_bits_of_the_eager_one(case: Case) -> None:
    dtype = "int64" if case.name.startswith("bitwise") else "float64"

    def step(*xs: Any) -> Any:
        return tuple(tensors_of(run(case, *xs)))

    frozen = unspool.compile(step)
    for seed in range(4):
        results = []
        for function in (step, frozen):
            unspool.manual_seed(seed)
            results.append([bits(t) for t in function(*(laid_out(a, "contiguous") for a in drawn(case, dtype)))])
        assert results[0] == results[1]
    assert frozen.plans == 1


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("case", cases(differentiable))
def test_frozen_gradients_have_the_bits_of_the_eager_ones(case: Case, dtype: str) -> None:
    problem = Problem(case, "contiguous")
    leaves = [
        unspool.tensor(a if a.dtype != np.float64 else a.astype(dtype), requires_grad=i in problem.active)
        for i, a in enumerate(problem.arrays)
        if a is not None
    ]
    absent = [a is None for a in problem.arrays]

    def step(x: Any) -> Any:
        for leaf in leaves:
            leaf.grad = None
        given = iter(leaves)
        results = tensors_of(run(case, *(None if missing else next(given) for missing in absent)))
        loss = sum(((t * t).sum() * x for t in results if t.requires_grad), unspool.zeros(()))
        loss.backward()
        return loss.detach()

    frozen = unspool.compile(step)
    for seed in range(4):
        results = []
        for function in (step, frozen):
            unspool.manual_seed(seed)
            results.append([bits(function(unspool.tensor(0.5 + seed))), *(bits(leaf.grad) for leaf in leaves)])
        assert results[0] == results[1]
    assert frozen.plans == 1
