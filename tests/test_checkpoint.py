"""`utils.checkpoint`: the bits of the program without checkpoints, and PyTorch's values.

The programs stand in checkpoint_programs.py.
"""

from __future__ import annotations

from typing import Any

import pytest

import unspool
import unspool.utils.checkpoint as own
from checkpoint_programs import (
    BOTH,
    NOT_REENTRANT,
    ROUNDED_OTHERWISE,
    Case,
    grads,
    leaf,
    plain,
    uses_inside_and_outside,
)
from checkpoint_runs import in_checkpoint, numbers, same

_CASES = [(case, reentrant) for reentrant, cases in ((True, BOTH), (False, NOT_REENTRANT)) for case in cases]
_IDS = [f"{case.__name__}-{'reentrant' if reentrant else 'non-reentrant'}" for case, reentrant in _CASES]


# PyTorch warns, too, where a reentrant checkpoint runs inside another's no_grad; and of anomaly mode.
@pytest.mark.filterwarnings("ignore:.*(requires_grad=True|requires grad|Anomaly Detection)")
@pytest.mark.parametrize(("case", "reentrant"), _CASES, ids=_IDS)
def test_bits_are_those_of_the_program_without_checkpoints(case: Case, reentrant: bool) -> None:
    mine = numbers(case(unspool, in_checkpoint(unspool, reentrant)))
    same(mine, numbers(case(unspool, plain)), exactly=(case, reentrant) not in ROUNDED_OTHERWISE)


# PyTorch warns, too, where a reentrant checkpoint runs inside another's no_grad; and of anomaly mode.
@pytest.mark.filterwarnings("ignore:.*(requires_grad=True|requires grad|Anomaly Detection)")
@pytest.mark.parametrize(("case", "reentrant"), _CASES, ids=_IDS)
def test_values_are_those_of_pytorch(case: Case, reentrant: bool) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is the reference for values")
    same(
        numbers(case(unspool, in_checkpoint(unspool, reentrant))),
        numbers(case(torch, in_checkpoint(torch, reentrant))),
        exactly=False,
    )


def test_sums_are_rounded_in_the_order_of_the_program_without_checkpoints() -> None:
    run = in_checkpoint(unspool, False)
    same(numbers(uses_inside_and_outside(unspool, run)), numbers(uses_inside_and_outside(unspool, plain)), True)


@pytest.mark.parametrize("reentrant", [True, False])
def test_many_layers_in_float32_keep_their_bits(reentrant: bool) -> None:
    unspool.manual_seed(0)
    model = unspool.nn.Sequential(
        *(
            layer
            for _ in range(6)
            for layer in (unspool.nn.Linear(48, 48), unspool.nn.ReLU(), unspool.nn.LayerNorm(48), unspool.nn.Dropout())
        )
    )
    data = unspool.randn(70, 48)
    seen = []
    for segments in (1, 5):
        unspool.manual_seed(1)
        model.zero_grad()
        x = data.clone().requires_grad_()
        y = own.checkpoint_sequential(model, segments, x, use_reentrant=reentrant)
        (y * y).mean().backward()
        seen.append(numbers([y, x.grad, grads(model), unspool.get_rng_state()]))
    same(seen[1], seen[0], exactly=True)


def test_sequential_beside_pytorch() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is the reference")
    from importlib import import_module

    seen = []
    for t in (unspool, torch):
        calls: list[str] = []

        def layer(name: str, f: Any, calls: list[str] = calls) -> Any:
            return lambda a: (calls.append(name), f(a))[1]

        functions = [layer(str(i), f) for i, f in enumerate([t.sin, t.exp, t.tanh, t.cos, t.sin])]
        x = leaf(t, 4)
        found = import_module(f"{t.__name__}.utils.checkpoint")
        y = found.checkpoint_sequential(functions, 2, x, use_reentrant=True, preserve_rng_state=False)
        y.sum().backward()
        seen.append((numbers([y, x.grad]), calls))
    same(seen[0][0], seen[1][0], exactly=False)
    assert seen[0][1] == seen[1][1]
