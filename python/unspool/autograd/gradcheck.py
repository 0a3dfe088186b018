"""Gradients against central differences, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from unspool import _core

__all__ = ["GradcheckError", "gradcheck", "gradgradcheck"]


class GradcheckError(RuntimeError):
    """A gradient differs from its central differences."""


def _outputs(func: Callable[..., Any], inputs: tuple[Any, ...]) -> list[Any]:
    result = func(*inputs)
    several = result if isinstance(result, (tuple, list)) else [result]
    return [y for y in several if isinstance(y, _core.Tensor) and y.dtype.is_floating_point]


def _numerical(func: Callable[..., Any], inputs: tuple[Any, ...], x: Any, eps: float) -> list[Any]:
    """For each output the matrix (elements of x, elements of the output)."""
    rows: list[list[Any]] = []
    flat = x.data
    places = [tuple(row) for row in _core.ones(x.shape).nonzero().tolist()] if x.dim() else [()]
    for place in places if x.numel() else []:
        value = flat[place].item()
        ends = []
        try:
            for at in (value + eps, value - eps):
                flat[place] = at
                ends.append([y.detach().clone() for y in _outputs(func, inputs)])
        finally:
            flat[place] = value
        rows.append([(a - b).reshape([-1]) / (2 * eps) for a, b in zip(*ends, strict=True)])
    return [_core.stack([row[k] for row in rows]) for k in range(len(rows[0]))] if rows else []


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,
) -> bool:
    """Whether the gradients of `func` by each floating input that requires grad agree with central differences.

    Every element is checked, whatever `fast_mode`, and gradients here have no `nondet_tol` to need.

    Raises:
        GradcheckError: they do not, and `raise_exception` is set.
        ValueError: no input requires grad.
        NotImplementedError: checks of batched or forward gradients.
    """
    for name, value in (
        ("check_batched_grad", check_batched_grad),
        ("check_batched_forward_grad", check_batched_forward_grad),
        ("check_forward_ad", check_forward_ad),
        ("masked", masked),
    ):
        if value:
            raise NotImplementedError(f"gradcheck: {name}=True is not supported")
    given = inputs if isinstance(inputs, (tuple, list)) else (inputs,)
    wanted = [x for x in given if isinstance(x, _core.Tensor) and x.requires_grad]
    if not wanted:
        raise ValueError("gradcheck: expects at least one input tensor to require gradient, but none of them does")
    outputs = _outputs(func, tuple(given))
    for i, x in enumerate(wanted):
        expected = _numerical(func, tuple(given), x, eps)
        for k, (y, numerical) in enumerate(zip(outputs, expected, strict=False)):
            columns = []
            for j in range(y.numel()):
                seed = _core.zeros([y.numel()], dtype=y.dtype)
                seed[j] = 1.0
                if not y.requires_grad:
                    columns.append(_core.zeros([x.numel()], dtype=x.dtype))
                    continue
                (g,) = _core.grad([y], [x], [seed.reshape(y.shape)], True, False, True)
                columns.append(_core.zeros([x.numel()], dtype=x.dtype) if g is None else g.detach().reshape([-1]))
            if not columns:
                continue
            analytical = _core.stack(columns, 1)
            if not analytical.allclose(numerical.to(analytical.dtype), rtol, atol, equal_nan=True):
                if not raise_exception:
                    return False
                raise GradcheckError(
                    f"Jacobian mismatch for output {k} with respect to input {i},\nnumerical:{numerical}\n"
                    f"analytical:{analytical}\n"
                )
    return True


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Any,
    grad_outputs: Any = None,
    *,
    gen_non_contig_grad_outputs: bool = False,
    **kwargs: Any,
) -> bool:
    """gradcheck of the gradients of `func`, weighted by `grad_outputs` (random numbers where None)."""
    given = inputs if isinstance(inputs, (tuple, list)) else (inputs,)
    first = _outputs(func, tuple(given))
    if grad_outputs is None:
        weights = [_core.randn(y.shape, dtype=y.dtype).requires_grad_() for y in first]
    else:
        weights = list(grad_outputs) if isinstance(grad_outputs, (tuple, list)) else [grad_outputs]
    n = len(given)

    def gradients(*args: Any) -> tuple[Any, ...]:
        xs, seeds = args[:n], args[n:]
        wanted = [x for x in xs if isinstance(x, _core.Tensor) and x.requires_grad]
        outputs = _outputs(func, xs)
        pairs = [(y, s) for y, s in zip(outputs, seeds, strict=True) if y.requires_grad]
        found = _core.grad([y for y, _ in pairs], wanted, [s for _, s in pairs], True, True, True)
        return tuple(_core.zeros_like(x) if g is None else g for g, x in zip(found, wanted, strict=True))

    return gradcheck(gradients, (*given, *weights), **kwargs)
