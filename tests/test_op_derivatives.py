"""The op table's derivatives, op by op, against central differences; and which ops have none."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import unspool
from op_cases import INPLACE, LAYOUTS, Case, Problem, cases, differentiable, drawn, laid_out, run
from tolerances import TOLERANCES, assert_close
from unspool import _core


def layouts_of(case: Case) -> tuple[str, ...]:
    """All for the strided kernels' sake; the third differs only where an input has more than one dim."""
    return LAYOUTS if any(type(s) is tuple and len(s) > 1 for s in case.inputs) else LAYOUTS[::2]


def assert_derivative(actual: list[Any], wanted: list[Any], scale: float, what: str) -> None:
    row = TOLERANCES["float64"]
    assert row.grad_rtol is not None
    assert row.grad_atol is not None
    for a, w in zip(actual, wanted, strict=True):
        np.testing.assert_allclose(a.numpy(), w, rtol=row.grad_rtol, atol=row.grad_atol * scale, err_msg=what)


@pytest.mark.parametrize("case", cases(differentiable))
def test_first_derivatives(case: Case) -> None:
    wanted = None
    for layout in layouts_of(case):
        problem = Problem(case, layout)
        if wanted is None:
            wanted = problem.differences(problem.value)
        scale = max(1.0, abs(problem.value(problem.arrays)))
        found = problem.gradients(problem.tensors(), create_graph=False)
        assert_derivative(found, wanted, scale, f"{case.key}, {layout}")


@pytest.mark.parametrize("case", cases(differentiable))
def test_second_derivatives(case: Case) -> None:
    wanted = None
    for layout in layouts_of(case):
        problem = Problem(case, layout)
        if wanted is None:
            wanted = problem.differences(problem.slope)
        xs = problem.tensors()
        pairs = zip(problem.gradients(xs, create_graph=True), problem.v, strict=True)
        slope = sum(((g * v).sum() for g, v in pairs), unspool.zeros((), dtype=unspool.float64))
        active = [xs[i] for i in problem.active]
        if slope.requires_grad:
            found = unspool.autograd.grad(slope, active, allow_unused=True)
        else:
            found = (None,) * len(active)
        found = [unspool.zeros_like(x) if g is None else g for g, x in zip(found, active, strict=True)]
        assert_derivative(found, wanted, max(1.0, abs(slope.item())), f"{case.key}, {layout}")


@pytest.mark.parametrize("case", cases(differentiable))
def test_tangents_are_the_transpose_of_gradients(case: Case) -> None:
    """⟨u, J v⟩ = ⟨Jᵀu, v⟩; and J v once more, as the gradient of ⟨v, Jᵀu⟩ by u."""
    for layout in layouts_of(case):
        problem = Problem(case, layout)
        xs = problem.tensors()
        y = problem(xs)
        (tangent,) = _core.jvp([y], [xs[i] for i in problem.active], problem.v)
        tangent = unspool.zeros_like(y) if tangent is None else tangent
        assert tangent.shape == y.shape
        left = math.fsum((tangent.detach().numpy() * problem.u.numpy()).ravel())
        right = problem.slope(problem.arrays)
        assert left == pytest.approx(right, rel=1e-11, abs=1e-11), f"{case.key}, {layout}"
        u = problem.u.clone().requires_grad_()
        pairs = zip(problem.gradients(xs, create_graph=True, u=u), problem.v, strict=True)
        slope = sum(((g * v).sum() for g, v in pairs), (u * 0).sum())
        (again,) = unspool.autograd.grad(slope, u)
        np.testing.assert_allclose(again.numpy(), tangent.detach().numpy(), rtol=1e-11, atol=1e-11, err_msg=case.key)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("case", cases(differentiable))
def test_fused_backward_equals_the_recorded_rule(case: Case, dtype: str) -> None:
    for layout in layouts_of(case):
        problem = Problem(case, layout)
        problem.u = problem.u.to(getattr(unspool, dtype))
        if dtype == "float32":
            problem.arrays = [a if a is None or a.dtype != np.float64 else a.astype("float32") for a in problem.arrays]
        fused = problem.gradients(problem.tensors(dtype=dtype), create_graph=False)
        taped = problem.gradients(problem.tensors(dtype=dtype), create_graph=True)
        for a, b in zip(fused, taped, strict=True):
            a, b = a.numpy(), b.detach().numpy()
            assert a.dtype == b.dtype == dtype
            if case.reference.bits:
                np.testing.assert_array_equal(a, b, err_msg=case.key)
            else:
                assert_close(a, b, what=case.key)


@pytest.mark.parametrize("case", cases(lambda c: differentiable(c) and not c.writes and c.entry["surface"] & INPLACE))
def test_gradient_in_place_equals_functional(case: Case) -> None:
    problem = Problem(case, "contiguous")
    xs = problem.tensors()
    if problem(xs).shape != xs[0].shape:
        return  # test_in_place_equals_functional has seen it refused
    wanted = problem.gradients(xs, create_graph=False)
    target = xs[0] * 1
    rest = [x for x in xs[1:] if x is not None]
    y = getattr(target, case.name + "_")(*rest, **case.attributes)
    found = unspool.autograd.grad(y, [xs[i] for i in problem.active], problem.u, allow_unused=True)
    for a, b in zip(found, wanted, strict=True):
        a = unspool.zeros_like(b) if a is None else a
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-14, atol=0, err_msg=case.key)


def without_derivative(case: Case) -> bool:
    return bool(case.entry["none"] and not case.entry["composite"]) and case.reference.dtypes[0] == "float32"


@pytest.mark.parametrize("case", cases(without_derivative))
def test_what_has_no_derivative_does_not_require_grad(case: Case) -> None:
    xs = [laid_out(a, "contiguous").requires_grad_() for a in drawn(case, "float64")]
    y = run(case, *xs)
    assert not y.requires_grad
    assert y.grad_fn is None
    with pytest.raises(RuntimeError, match="does not require grad"):
        y.sum().backward()


@pytest.mark.parametrize("case", cases(lambda c: c.reference.refuses_backward))
def test_refuses_backward(case: Case) -> None:
    xs = [laid_out(a, "contiguous").requires_grad_() for a in drawn(case, "float64")]
    with pytest.raises(RuntimeError, match=f"{case.name}.*not implemented"):
        run(case, *xs).sum().backward()
    target = xs[0] * 1
    if run(case, *xs).shape == target.shape:
        with pytest.raises(RuntimeError, match=f"{case.name}.*not implemented"):
            getattr(target, case.name + "_")(*xs[1:], **case.attributes).sum().backward()
