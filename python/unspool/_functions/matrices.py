"""PyTorch's older names of linear algebra: functions of `linalg`, some with other results, as methods too."""

from __future__ import annotations

import math
from typing import Any

from unspool import _core
from unspool._core import Tensor
from unspool._functions._methods import method, named, with_out

__all__ = ["cholesky", "cholesky_inverse", "cholesky_solve", "det", "inverse", "logdet", "lu", "lu_solve",
           "lu_unpack", "matrix_exp", "pca_lowrank", "pinverse", "qr", "slogdet", "svd", "svd_lowrank",
           "triangular_solve"]  # fmt: skip


def _linalg() -> Any:
    from unspool import linalg  # on first use: it is not cheap

    return linalg


@method
def det(input: Tensor) -> Tensor:
    """`linalg.det`."""
    return _linalg().det(input)


@method
def slogdet(input: Tensor) -> Any:
    """`linalg.slogdet`: (sign, logabsdet)."""
    sign, logarithm = _linalg().slogdet(input)
    return named("slogdet", sign, logarithm)


@method
def logdet(input: Tensor) -> Tensor:
    """ln det of square matrices; NaN where the determinant is negative, -inf where it is 0."""
    sign, logarithm = _linalg().slogdet(input)
    return _core.where(sign == -1, math.nan, logarithm)


@with_out
@method
def inverse(input: Tensor) -> Tensor:
    """`linalg.inv`."""
    return _linalg().inv(input)


@method
def pinverse(input: Tensor, rcond: float = 1e-15) -> Tensor:
    """`linalg.pinv` with rtol=rcond."""
    return _linalg().pinv(input, rtol=rcond)


@with_out
@method
def svd(input: Tensor, some: bool = True, compute_uv: bool = True) -> Any:
    """(U, S, V) of A = U diag(S) Vᵀ, V itself, unlike `linalg.svd`; U and V zero unless compute_uv."""
    if not compute_uv:
        s = _linalg().svdvals(input)
        u, v = (_core.zeros([*input.shape[:-2], n, n], dtype=input.dtype) for n in input.shape[-2:])
        return named("svd", u, s, v)
    u, s, vh = _linalg().svd(input, full_matrices=not some)
    return named("svd", u, s, vh.transpose(-2, -1))


@with_out
@method
def qr(input: Tensor, some: bool = True) -> Any:
    """`linalg.qr`, 'reduced' or (not some) 'complete'."""
    q, r = _linalg().qr(input, "reduced" if some else "complete")
    return named("qr", q, r)


@with_out
@method
def cholesky(input: Tensor, upper: bool = False) -> Tensor:
    """`linalg.cholesky`."""
    return _linalg().cholesky(input, upper=upper)


@with_out
@method
def cholesky_inverse(input: Tensor, upper: bool = False) -> Tensor:
    """(L Lᵀ)⁻¹ of a lower factor, (Uᵀ U)⁻¹ of an upper one."""
    inverse_factor = _linalg().inv(input.triu() if upper else input.tril())
    t = inverse_factor.transpose(-2, -1)
    return inverse_factor @ t if upper else t @ inverse_factor


@with_out
@method
def cholesky_solve(input: Tensor, L: Tensor, upper: bool = False) -> Tensor:
    """X of L Lᵀ X = input, or Uᵀ U X = input; input (…, n, k)."""
    low = L.transpose(-2, -1) if upper else L
    solve = _linalg().solve_triangular
    return solve(low.transpose(-2, -1), solve(low, input, upper=False), upper=True)


@method
def lu(input: Tensor, pivot: bool = True, get_infos: bool = False) -> Any:
    """(LU, pivots), and with get_infos the number of the first pivot that is 0: `linalg.lu_factor_ex`."""
    factor, pivots, info = _linalg().lu_factor_ex(input, pivot=pivot)
    return (factor, pivots, info) if get_infos else (factor, pivots)


@method
def lu_solve(input: Tensor, LU_data: Tensor, LU_pivots: Tensor) -> Tensor:
    """`linalg.lu_solve`, the right-hand side first."""
    return _linalg().lu_solve(LU_data, LU_pivots, input)


def lu_unpack(LU_data: Tensor, LU_pivots: Tensor, unpack_data: bool = True, unpack_pivots: bool = True) -> Any:
    """(P, L, U) with A = P L U, from what `lu` gave; what isn't asked for is empty."""
    from unspool.linalg._lu import lu_unpack as unpacked

    return unpacked(LU_data, LU_pivots, unpack_data, unpack_pivots)


@method
def triangular_solve(
    input: Tensor, A: Tensor, upper: bool = True, transpose: bool = False, unitriangular: bool = False
) -> Any:
    """`linalg.solve_triangular` of A (or Aᵀ, with `transpose`), the right-hand side first; and A."""
    matrix = A.transpose(-2, -1) if transpose else A
    x = _linalg().solve_triangular(matrix, input, upper=upper != transpose, unitriangular=unitriangular)
    return named("triangular_solve", x, A.clone())


@method
def matrix_exp(input: Tensor) -> Tensor:
    """e to square matrices: the series of A / 2^s to A^18, squared s times (Moler and Van Loan, 2003)."""
    from unspool.linalg._numpy import check_matrix

    check_matrix("matrix_exp", input, halves=True)
    if input.dtype.itemsize == 2:
        return matrix_exp(input.float()).to(input.dtype)
    if input.numel() == 0:
        return input.clone()
    norm = float(input.detach().abs().sum(-2).amax())
    if not math.isfinite(norm):
        return input * math.nan
    squarings = max(0, math.ceil(math.log2(norm)) + 1) if norm > 0 else 0
    x = input / 2.0**squarings
    one = _core.eye(input.shape[-1], dtype=input.dtype)
    y = one.expand(input.shape)
    for k in range(18, 0, -1):
        y = one + x @ y / k
    for _ in range(squarings):
        y = y @ y
    return y


def svd_lowrank(A: Tensor, q: int | None = 6, niter: int = 2, M: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """(U, S, V) with A, or A - M, about U diag(S) Vᵀ of rank q: seen through q random vectors. (Halko et al., 2009)"""
    linalg, q = _linalg(), 6 if q is None else q
    a = A if M is None else A - M.broadcast_to(A.shape)
    m, n = a.shape[-2:]
    if not 0 < q <= min(m, n):
        raise ValueError(f"svd_lowrank: q must be between 1 and {min(m, n)}, got {q}")
    tall = a if m >= n else a.mT
    seen = linalg.qr(tall @ _core.randn(tall.shape[-1], q, dtype=a.dtype))[0]
    for _ in range(niter):
        seen = linalg.qr(tall @ linalg.qr(tall.mT @ seen)[0])[0]
    u, s, vh = linalg.svd(seen.mT @ tall, full_matrices=False)
    u, v = seen @ u, vh.mT
    return (u, s, v) if m >= n else (v, s, u)


def pca_lowrank(A: Tensor, q: int | None = None, center: bool = True, niter: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """`svd_lowrank` of A (…, m, n), its columns' means taken off: V has the principal directions."""
    if q is None:
        q = min(6, *A.shape[-2:])
    elif not 0 <= q <= min(A.shape[-2:]):
        raise ValueError(f"q(={q}) must be non-negative integer and not greater than min(m, n)={min(A.shape[-2:])}")
    if niter < 0:
        raise ValueError(f"niter(={niter}) must be non-negative integer")
    return svd_lowrank(A - A.mean(-2, keepdim=True) if center else A, q, niter)
