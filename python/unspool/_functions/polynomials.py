"""Orthogonal polynomials, each by its recurrence in three terms (Abramowitz and Stegun, chapter 22).

f(input, n): of input's elements, of degree n, a number or a tensor of them; 0 for a negative degree. Integers become
the default dtype. Without gradients, as in PyTorch. Of degrees to 100,000: a step of the recurrence is taken for each;
a larger one is a ValueError.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from unspool import _core
from unspool._core import Tensor
from unspool._functions._methods import as_array, with_out

__all__ = [
    "chebyshev_polynomial_t", "chebyshev_polynomial_u", "chebyshev_polynomial_v", "chebyshev_polynomial_w",
    "hermite_polynomial_h", "hermite_polynomial_he", "laguerre_polynomial_l", "legendre_polynomial_p",
    "shifted_chebyshev_polynomial_t", "shifted_chebyshev_polynomial_u", "shifted_chebyshev_polynomial_v",
    "shifted_chebyshev_polynomial_w",
]  # fmt: skip

_MOST = 100_000
_Next = Callable[[int, Any, Any, Any], Any]


def _polynomial(name: str, first: Callable[[Any], Any], following: _Next, doc: str) -> Callable[..., Tensor]:
    """P₀ = 1, P₁ = first(x), and P of k + 1 as following(k, x, P of k, P of k - 1)."""
    op = f"special.{name}"

    def polynomial(input: Any, n: Any) -> Tensor:
        import numpy as np

        if not isinstance(input, Tensor) and not isinstance(n, Tensor):
            raise TypeError(f"{op}: one argument must be a Tensor, got {input!r} and {n!r}")
        dtype = _core.result_type(input, n)
        dtype = dtype if dtype.is_floating_point else _core.get_default_dtype()
        if dtype not in (_core.float32, _core.float64):
            raise NotImplementedError(f"{op}: not implemented for {dtype}")
        given = [t.detach().to(dtype) if isinstance(t, Tensor) else _core.tensor(t, dtype=dtype) for t in (input, n)]
        x, degree = np.broadcast_arrays(*map(as_array, given))
        with np.errstate(invalid="ignore"):
            degree = degree.astype(np.int64)
        if degree.max(initial=0) > _MOST:
            raise ValueError(f"{op}: n must be at most {_MOST}, got {degree.max()}")
        with np.errstate(all="ignore"):
            before, now, found = np.ones_like(x), first(x), (degree == 0).astype(x.dtype)
            for k in range(1, int(degree.max(initial=0)) + 1):
                found = np.where(degree == k, now, found)
                before, now = now, following(k, x, now, before)
        # It lies in memory as results of two operands do.
        return (given[0] + given[1]).copy_(_core.tensor(found, dtype=dtype))

    polynomial.__name__ = polynomial.__qualname__ = name
    polynomial.__doc__ = doc
    polynomial.__module__ = "unspool.special"
    return with_out(polynomial)


def _chebyshev(kind: str, first: Callable[[Any], Any], doc: str) -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
    """The polynomial of that kind, and the same of 2x - 1."""

    def following(k: int, x: Any, now: Any, before: Any) -> Any:
        return 2 * x * now - before

    def shifted(k: int, x: Any, now: Any, before: Any) -> Any:
        return following(k, 2 * x - 1, now, before)

    name = f"chebyshev_polynomial_{kind}"
    return (
        _polynomial(name, first, following, doc),
        _polynomial(f"shifted_{name}", lambda x: first(2 * x - 1), shifted, f"{doc[:-1]}, at 2x - 1."),
    )


chebyshev_polynomial_t, shifted_chebyshev_polynomial_t = _chebyshev("t", lambda x: x, "cos(n arccos x).")
chebyshev_polynomial_u, shifted_chebyshev_polynomial_u = _chebyshev(
    "u", lambda x: 2 * x, "sin((n + 1) θ) / sin θ with θ = arccos x."
)
chebyshev_polynomial_v, shifted_chebyshev_polynomial_v = _chebyshev(
    "v", lambda x: 2 * x - 1, "cos((n + 1/2) θ) / cos(θ / 2) with θ = arccos x."
)
chebyshev_polynomial_w, shifted_chebyshev_polynomial_w = _chebyshev(
    "w", lambda x: 2 * x + 1, "sin((n + 1/2) θ) / sin(θ / 2) with θ = arccos x."
)
hermite_polynomial_h = _polynomial(
    "hermite_polynomial_h",
    lambda x: 2 * x,
    lambda k, x, now, before: 2 * x * now - 2 * k * before,
    "Hermite's, for the weight e^(-x²).",
)
hermite_polynomial_he = _polynomial(
    "hermite_polynomial_he",
    lambda x: x,
    lambda k, x, now, before: x * now - k * before,
    "Hermite's, for the weight e^(-x²/2).",
)
laguerre_polynomial_l = _polynomial(
    "laguerre_polynomial_l",
    lambda x: 1 - x,
    lambda k, x, now, before: ((2 * k + 1 - x) * now - k * before) / (k + 1),
    "Laguerre's, for the weight e^(-x) from 0 on.",
)
legendre_polynomial_p = _polynomial(
    "legendre_polynomial_p",
    lambda x: x,
    lambda k, x, now, before: ((2 * k + 1) * x * now - k * before) / (k + 1),
    "Legendre's, for the weight 1 on [-1, 1].",
)
