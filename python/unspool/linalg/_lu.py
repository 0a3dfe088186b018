"""The LU factorisation with row exchanges, what is solved with it, and the variants that report instead of raising.

The derivative is that of de Hoog, Anderssen and Lukas (2011), Differentiation of matrix functionals using triangular
factorization: A = P L U.
"""

from __future__ import annotations

import math
from typing import Any

from unspool import _core
from unspool._core import Tensor
from unspool._functions._methods import named, need_tensor
from unspool.autograd.function import Function
from unspool.linalg._factorisations import solve_triangular
from unspool.linalg._numpy import LinAlgError, as_matrices, as_tensor, check_matrix

__all__ = ["inv_ex", "lu", "lu_factor", "lu_factor_ex", "lu_solve", "lu_unpack", "solve_ex"]


def _eliminated(op: str, values: Any, pivot: bool) -> tuple[Any, Any, Any]:
    """(LU, pivots, info) of an array of matrices: rows are exchanged for the largest element of the column.

    info is 0, or the number, from 1, of the first pivot that is 0.
    """
    import numpy as np

    lu = np.array(values)
    rows, columns = lu.shape[-2:]
    n = min(rows, columns)
    flat = lu.reshape(math.prod(lu.shape[:-2]), rows, columns)
    pivots = np.tile(np.arange(1, n + 1, dtype=np.int32), (len(flat), 1))
    info = np.zeros(len(flat), np.int32)
    every = np.arange(len(flat))
    for k in range(n):
        if pivot:
            at = k + np.abs(flat[:, k:, k]).argmax(1)
            pivots[:, k] = at + 1
            flat[every, k], flat[every, at] = flat[every, at].copy(), flat[every, k].copy()
        top = flat[:, k, k]
        info[(top == 0) & (info == 0)] = k + 1
        flat[:, k + 1 :, k] /= np.where(top == 0, 1, top)[:, None]
        flat[:, k + 1 :, k + 1 :] -= flat[:, k + 1 :, k, None] * flat[:, k, None, k + 1 :]
    batch = lu.shape[:-2]
    return flat.reshape(lu.shape), pivots.reshape(*batch, n), info.reshape(batch)


def _permutation(pivots: Tensor, rows: int, dtype: Any) -> Tensor:
    """P of A = P L U, from the exchanges."""
    import numpy as np

    exchanges = pivots.detach().numpy().reshape(math.prod(pivots.shape[:-1]), pivots.shape[-1])
    order = np.tile(np.arange(rows), (len(exchanges), 1))
    for row, own in zip(order, exchanges, strict=True):
        for k, at in enumerate(own):
            row[[k, at - 1]] = row[[at - 1, k]]
    p = np.zeros((len(order), rows, rows))
    p[np.arange(len(order))[:, None], order, np.arange(rows)[None]] = 1
    return as_tensor(p.reshape(*pivots.shape[:-1], rows, rows), dtype)


class _LU(Function):
    @staticmethod
    def forward(ctx: Any, A: Tensor, packed: Any, pivots: Any) -> Any:
        y = packed.clone()
        ctx.save_for_backward(y, pivots)  # the result, not the constant: backward is differentiated through it
        return y

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        packed, pivots = ctx.saved_tensors
        rows, columns = packed.shape[-2:]
        n = min(rows, columns)
        square = packed[..., :n, :n]
        low, high = square.tril(-1) + _core.eye(n, dtype=packed.dtype), square.triu()
        g_low, g_high = g[..., :n, :n].tril(-1), g[..., :n, :n].triu()
        more = None
        if columns > n:  # U's right part is L⁻¹ times A's
            more = solve_triangular(low.mT, g[..., :, n:], upper=True, unitriangular=True)
            g_low = g_low - more @ packed[..., :, n:].mT
        if rows > n:  # L's lower part is A's times U⁻¹
            more = solve_triangular(high.mT, g[..., n:, :], upper=False, left=False)
            g_high = g_high - packed[..., n:, :].mT @ more
        inner = (low.mT @ g_low).tril(-1) + (g_high @ high.mT).triu()
        left = solve_triangular(low.mT, inner, upper=True, unitriangular=True)
        found = solve_triangular(high.mT, left, upper=False, left=False)
        if more is not None:
            found = _core.cat([found, more], -1 if columns > n else -2)
        return _permutation(pivots, rows, packed.dtype) @ found, None, None


def _factored(op: str, A: Any, pivot: bool) -> tuple[Tensor, Tensor, Tensor]:
    check_matrix(op, A, square=False)
    packed, pivots, info = _eliminated(op, A.detach().numpy(), pivot)
    exchanges = as_tensor(pivots, _core.int32)
    factor = _LU.apply(A, as_matrices(packed, A.dtype), exchanges)
    return factor, exchanges, as_tensor(info, _core.int32)


def lu_factor_ex(A: Tensor, *, pivot: bool = True, check_errors: bool = False) -> Any:
    """(LU, pivots, info): L below the diagonal of LU, U above; row k was exchanged with row pivots[k], from 1.

    info is 0, or the number of the first pivot that is 0.

    Raises:
        LinAlgError: `check_errors`, and a pivot is 0.
    """
    factor, pivots, info = _factored("lu_factor_ex", A, pivot)
    if check_errors and bool((info > 0).any()):
        raise LinAlgError(f"linalg.lu_factor_ex: U has a 0 on its diagonal, at {info.tolist()}, counted from 1")
    return named("linalg_lu_factor_ex", factor, pivots, info)


def lu_factor(A: Tensor, *, pivot: bool = True) -> Any:
    """(LU, pivots) of `lu_factor_ex`."""
    factor, pivots, _ = _factored("lu_factor", A, pivot)
    return named("linalg_lu_factor", factor, pivots)


def lu_unpack(LU_data: Tensor, LU_pivots: Tensor, unpack_data: bool = True, unpack_pivots: bool = True) -> Any:
    """(P, L, U) with A = P L U, from what `lu_factor` gave; what isn't asked for is empty."""
    need_tensor("lu_unpack", "LU_data", LU_data)
    if LU_pivots.dtype != _core.int32:
        raise RuntimeError(
            f"lu_unpack: LU_pivots is expected to be a contiguous tensor of torch.int32, got {LU_pivots.dtype}"
        )
    rows, columns = LU_data.shape[-2:]
    n = min(rows, columns)
    none = _core.empty(0, dtype=LU_data.dtype)
    p = _permutation(LU_pivots, rows, LU_data.dtype) if unpack_pivots else none
    if not unpack_data:
        return named("lu_unpack", p, none, none.clone())
    low = LU_data[..., :n].tril(-1) + _core.eye(rows, n, dtype=LU_data.dtype)
    return named("lu_unpack", p, low, LU_data[..., :n, :].triu())


def lu(A: Tensor, *, pivot: bool = True) -> Any:
    """(P, L, U): A = P L U, P a permutation (empty unless `pivot`), L with 1 on its diagonal, U upper triangular."""
    factor, pivots, _ = _factored("lu", A, pivot)
    p, low, high = lu_unpack(factor, pivots, unpack_pivots=pivot)
    return named("linalg_lu", p, low, high)


def lu_solve(LU: Tensor, pivots: Tensor, B: Tensor, *, left: bool = True, adjoint: bool = False) -> Tensor:
    """X of A X = B (X A = B unless left), from A's `lu_factor`; of Aᵀ where `adjoint`."""
    check_matrix("lu_solve", LU)
    if B.dtype != LU.dtype or B.dim() < 2 or B.shape[-2 if left else -1] != LU.shape[-1]:
        raise RuntimeError(
            f"linalg.lu_solve: B must have LU's dtype and fit its shape {tuple(LU.shape)}, got {B.dtype} of shape "
            f"{tuple(B.shape)}"
        )
    if not left:  # X A = B is Aᵀ Xᵀ = Bᵀ
        return lu_solve(LU, pivots, B.mT, adjoint=not adjoint).mT
    p = _permutation(pivots, LU.shape[-1], LU.dtype)
    if adjoint:
        y = solve_triangular(LU.mT, B, upper=False)
        return p @ solve_triangular(LU.mT, y, upper=True, unitriangular=True)
    y = solve_triangular(LU, p.mT @ B, upper=False, unitriangular=True)
    return solve_triangular(LU, y, upper=True)


def _reported(op: str, A: Tensor, check_errors: bool) -> tuple[Tensor, Tensor]:
    """A with singular matrices made NaN-free unit ones, and the info of each."""
    info = _factored(op, A.detach(), True)[2]
    if check_errors and bool((info > 0).any()):
        raise LinAlgError(
            f"linalg.{op}: The diagonal element {int(info.max())} is zero, the inversion could not be completed "
            "because the input matrix is singular."
        )
    failed = (info > 0)[..., None, None]
    return A.masked_fill(failed, 0) + failed * _core.eye(A.shape[-1], dtype=A.dtype), info


def inv_ex(A: Tensor, *, check_errors: bool = False) -> Any:
    """(inverse, info): `inv`, and 0, or the number of a pivot that is 0; the inverse is NaN there."""
    from unspool.linalg import inv

    check_matrix("inv_ex", A)
    regular, info = _reported("inv_ex", A, check_errors)
    y = inv(regular)
    return named("linalg_inv_ex", y.masked_fill((info > 0)[..., None, None], math.nan) if info.any() else y, info)


def solve_ex(A: Tensor, B: Tensor, *, left: bool = True, check_errors: bool = False) -> Any:
    """(result, info): `solve`, and 0, or the number of a pivot that is 0; the result is NaN there."""
    from unspool.linalg import solve

    check_matrix("solve_ex", A)
    regular, info = _reported("solve_ex", A, check_errors)
    y = solve(regular, B, left=left)
    if info.any():
        failed = info > 0
        y = y.masked_fill(failed.reshape(*failed.shape, *(1,) * (y.dim() - failed.dim())), math.nan)
    return named("linalg_solve_ex", y, info)
