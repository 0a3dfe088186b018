"""Linear algebra: norms, products of several matrices, inverses, determinants, solutions of linear systems.

Factorisations are NumPy's (LAPACK); their derivatives are written here, in operations that can be differentiated again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from unspool import _core
from unspool._core import Tensor
from unspool._functions._methods import named, need_tensor, tensor_arguments, with_out, wrap_dim
from unspool._functions.algebra import matrix_power
from unspool._functions.matrices import matrix_exp
from unspool._naming import shown_as
from unspool._precision import in_float32
from unspool.autograd.function import Function
from unspool.linalg._factorisations import (
    cond,
    eig,
    eigh,
    eigvals,
    eigvalsh,
    lstsq,
    matrix_rank,
    pinv,
    qr,
    solve_triangular,
    svd,
    svdvals,
)
from unspool.linalg._lu import inv_ex, lu, lu_factor, lu_factor_ex, lu_solve, solve_ex
from unspool.linalg._numpy import LinAlgError, as_matrices, as_tensor, check_matrix, numpy_linalg

__all__ = [
    "LinAlgError",
    "cholesky",
    "cholesky_ex",
    "cond",
    "cross",
    "det",
    "diagonal",
    "eig",
    "eigh",
    "eigvals",
    "eigvalsh",
    "inv",
    "inv_ex",
    "lstsq",
    "lu",
    "lu_factor",
    "lu_factor_ex",
    "lu_solve",
    "matmul",
    "matrix_exp",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "multi_dot",
    "norm",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "solve_ex",
    "solve_triangular",
    "svd",
    "svdvals",
    "tensorinv",
    "tensorsolve",
    "vander",
    "vecdot",
    "vector_norm",
]


class _Inverse(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = as_matrices(numpy_linalg("inv", "inv", x), x.dtype)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        t = y.transpose(-2, -1)
        return -(t @ g @ t)  # (n×n)·(n×n)·(n×n)


@with_out
@in_float32
@shown_as("LinalgInvExBackward0")
def inv(A: Tensor) -> Tensor:
    """The inverse of square matrices (…, n, n). LinAlgError where there is none."""
    check_matrix("inv", A)
    return _Inverse.apply(A)


class _LogDet(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Any:
        sign, value = numpy_linalg("slogdet", "slogdet", x)
        signs, values = as_tensor(sign, x.dtype), as_tensor(value, x.dtype)
        ctx.save_for_backward(x)
        ctx.mark_non_differentiable(signs)
        return signs, values

    @staticmethod
    def backward(ctx: Any, _: Any, g: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return g[..., None, None] * inv(x).transpose(-2, -1)


@with_out
def slogdet(A: Tensor) -> Any:
    """(sign, logabsdet): the signs of square matrices' determinants, and ln |det A|."""
    check_matrix("slogdet", A)
    sign, logarithm = _LogDet.apply(A)
    return named("linalg_slogdet", sign, logarithm)


@with_out
@shown_as("LinalgDetBackward0")
def det(A: Tensor) -> Tensor:
    """The determinants of square matrices; the gradient is that of regular ones."""
    check_matrix("det", A)
    sign, logarithm = slogdet(A)
    return sign * logarithm.exp()


class _Solution(Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        x = as_matrices(numpy_linalg("solve", "solve", a, b), a.dtype)
        ctx.save_for_backward(a, x)
        return x

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        a, x = ctx.saved_tensors
        gb = _Solution.apply(a.transpose(-2, -1), g)
        return -(gb @ x.transpose(-2, -1)), gb  # (n×k)·(k×n) → (n×n)


@with_out
@in_float32
def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """X of A X = B (or X A = B): A (…, n, n), B (…, n, k) or a batch of vectors (…, n). LinAlgError where A is
    singular."""
    check_matrix("solve", A)
    need_tensor("linalg.solve", "B", B)
    if A.dtype != B.dtype:
        raise RuntimeError(f"linalg.solve: Expected A and B to have the same dtype, got {A.dtype} and {B.dtype}")
    vector = B.dim() == 1 or (A.dim() - 1 == B.dim() and B.shape == A.shape[:-1])
    right = B.unsqueeze(-1) if vector else B
    if not left:
        return solve(A.transpose(-2, -1), right.transpose(-2, -1)).transpose(-2, -1)
    if right.shape[-2] != A.shape[-1]:
        raise RuntimeError(f"linalg.solve: Incompatible shapes of A {tuple(A.shape)} and B {tuple(B.shape)}")
    from unspool._functions.grids import broadcast_shapes

    batch = broadcast_shapes(A.shape[:-2], right.shape[:-2])
    a, b = A.expand([*batch, *A.shape[-2:]]), right.expand([*batch, *right.shape[-2:]])
    x = _Solution.apply(a, b)
    return x.squeeze(-1) if vector else x


class _Cholesky(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = as_matrices(numpy_linalg("cholesky", "cholesky", x), x.dtype)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        # Murray (2016), Differentiation of the Cholesky decomposition: L⁻ᵀ Φ(Lᵀ g) L⁻¹, made symmetric
        (y,) = ctx.saved_tensors
        phi = (y.transpose(-2, -1) @ g.tril()).tril()
        phi = phi - 0.5 * _core.diagonal(phi, 0, -2, -1).unsqueeze(-1) * _core.eye(y.shape[-1], dtype=y.dtype)
        back = inv(y)
        s = back.transpose(-2, -1) @ phi @ back
        return 0.5 * (s + s.transpose(-2, -1))


@with_out
@in_float32
@shown_as("LinalgCholeskyExBackward0")
def cholesky(A: Tensor, *, upper: bool = False) -> Tensor:
    """L of A = L Lᵀ (or U of A = Uᵀ U), of symmetric positive definite matrices. LinAlgError where they are not."""
    check_matrix("cholesky", A)
    factor = _Cholesky.apply(A)
    return factor.contiguous().transpose(-2, -1) if upper else factor  # by columns, both


def cholesky_ex(A: Tensor, *, upper: bool = False, check_errors: bool = False) -> Any:
    """(L, info): `cholesky`, and 0, or the order of the first leading minor that is not positive definite.

    The factor of such a matrix is NaN.

    Raises:
        LinAlgError: `check_errors`, and there is such a matrix.
    """
    import numpy as np

    check_matrix("cholesky_ex", A)
    values = A.detach().numpy()
    info = np.zeros(values.shape[:-2], np.int32)
    for place in np.ndindex(info.shape):
        info[place] = _order_that_fails(values[place])
    if check_errors and info.any():
        raise LinAlgError(
            "linalg.cholesky_ex: The factorization could not be completed because the input is not positive-definite "
            f"(the leading minor of order {info.ravel()[info.ravel() > 0][0]} is not positive-definite)."
        )
    orders = as_tensor(info, _core.int32)
    failed = (orders > 0)[..., None, None]
    factor = cholesky(A.masked_fill(failed, 0) + failed * _core.eye(A.shape[-1], dtype=A.dtype), upper=upper)
    return named("linalg_cholesky_ex", factor.masked_fill(failed, math.nan) if info.any() else factor, orders)


def _order_that_fails(a: Any) -> int:
    """0, or the order of the first leading minor that is not positive definite, as none after it is, either."""
    import numpy as np

    def fails(order: int) -> bool:
        try:
            np.linalg.cholesky(a[:order, :order])
        except np.linalg.LinAlgError:
            return True
        return False

    good, bad = 0, len(a)
    if not fails(bad):
        return 0
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (good, middle) if fails(middle) else (middle, bad)
    return bad


def tensorinv(A: Tensor, ind: int = 2) -> Tensor:
    """The inverse of A as a map from its last dims, from `ind` on, to those before.

    Raises:
        RuntimeError: the two groups of dims have other numbers of elements; `ind` is not positive.
    """
    need_tensor("linalg.tensorinv", "A", A)
    if ind <= 0:
        raise RuntimeError(f"linalg.tensorinv: Expected a strictly positive integer for 'ind', got {ind}")
    first, last = A.shape[:ind], A.shape[ind:]
    n, m = math.prod(first), math.prod(last)
    if n != m:
        raise RuntimeError(
            f"linalg.tensorinv: Expected self to satisfy prod(shape[:ind]) == prod(shape[ind:]), {n}, {m}"
        )
    return inv(A.reshape((n, n))).reshape((*last, *first))


def tensorsolve(A: Tensor, B: Tensor, dims: Sequence[int] | None = None) -> Tensor:
    """X of A · X = B, summed over A's dims after those of B; `dims` of A are moved to its end first.

    Raises:
        RuntimeError: the two groups of A's dims have other numbers of elements.
    """
    need_tensor("linalg.tensorsolve", "A", A)
    need_tensor("linalg.tensorsolve", "B", B)
    if dims is not None:
        A = A.movedim(tuple(dims), tuple(range(A.dim() - len(dims), A.dim())))
    rest = A.shape[B.dim() :]
    n, m = math.prod(rest), B.numel()
    if n != m:
        raise RuntimeError(f"linalg.tensorsolve: Expected self to satisfy prod(shape[B.ndim:]) == B.numel(), {n}, {m}")
    return solve(A.reshape((n, n)), B.flatten()).reshape(rest)


def vander(x: Tensor, *, N: int | None = None) -> Tensor:
    """The powers 0 to N - 1 of each element, as a new last dim; N is the last size of x where None."""
    need_tensor("linalg.vander", "x", x)
    if N is None and x.dim() == 0:
        raise RuntimeError("linalg.vander: x must have a dim where N is None, got a 0-d tensor")
    n = x.shape[-1] if N is None else N
    if n <= 1:
        raise RuntimeError(f"linalg.vander: N must be greater than 1, got {n}")
    return (x if x.dim() else x.reshape([1])).contiguous().unsqueeze(-1) ** _core.arange(n)


@with_out
def matmul(input: Tensor, other: Tensor) -> Tensor:
    """`unspool.matmul`."""
    return _core.matmul(input, other)


def diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """A view of the diagonals of the last two dims."""
    return _core.diagonal(A, offset, dim1, dim2)


@with_out
def cross(input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """The vector product along a dim of size 3."""
    from unspool._functions.algebra import cross as product

    return product(input, other, dim)


@with_out
def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """The sum of products along dim, broadcast."""
    return (x * y).sum(dim)


@with_out
def multi_dot(tensors: Sequence[Tensor]) -> Tensor:
    """The product of matrices in the order that costs least (Cormen et al.); the ends may be vectors."""
    given = tensor_arguments("multi_dot", (tensors,))
    if len(given) < 2:
        raise RuntimeError(f"multi_dot: expected at least 2 tensors but got {len(given)}")
    first, last = given[0], given[-1]
    if first.dim() == 1:
        given[0] = first.unsqueeze(0)
    if last.dim() == 1:
        given[-1] = last.unsqueeze(1)
    for i, t in enumerate(given):
        if t.dim() != 2:
            raise RuntimeError(f"multi_dot: tensor {i} must be 2D but got shape {tuple(t.shape)}")
        if t.dtype != given[0].dtype:
            raise RuntimeError(f"multi_dot: all tensors must have the same dtype, tensor {i} has {t.dtype}")
        if i and given[i - 1].shape[1] != t.shape[0]:
            raise RuntimeError(
                f"multi_dot: tensors {i - 1} and {i} with shapes {tuple(given[i - 1].shape)} and "
                f"{tuple(t.shape)} cannot be multiplied"
            )
    n = len(given)
    sizes = [t.shape[0] for t in given] + [given[-1].shape[1]]
    cost = [[0.0] * n for _ in range(n)]
    cut = [[0] * n for _ in range(n)]
    for length in range(1, n):
        for i in range(n - length):
            j = i + length
            options = [(cost[i][k] + cost[k + 1][j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k) for k in range(i, j)]
            cost[i][j], cut[i][j] = min(options)

    def product(i: int, j: int) -> Tensor:
        return given[i] if i == j else product(i, cut[i][j]) @ product(cut[i][j] + 1, j)

    result = product(0, n - 1)
    if first.dim() == 1:
        result = result.squeeze(0)
    return result.squeeze(-1) if last.dim() == 1 else result


@with_out
def vector_norm(x: Tensor, ord: float = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """(Σ |x|^ord)^(1/ord) over dim or all elements; the extremes of |x| for ±inf, the count of nonzeros for 0."""
    need_tensor("linalg.vector_norm", "x", x)
    if not x.dtype.is_floating_point and dtype is None:
        raise RuntimeError(f"linalg.vector_norm: Expected a floating point tensor as input. Got {x.dtype}")
    values = x if dtype is None else x.to(dtype)
    if dim is None:
        result = _core.norm(values.reshape([-1]), ord, 0)
        return result.reshape([1] * x.dim()) if keepdim else result
    return _core.norm(values, ord, dim, keepdim)


@with_out
def matrix_norm(
    A: Tensor, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """The Frobenius norm; the largest (1, inf) or smallest (-1, -inf) sum of |a| over columns or rows; the largest (2)
    or smallest (-2) singular value, or the sum of them ("nuc")."""
    check_matrix("matrix_norm", A, square=False, halves=True)
    rows, columns = (wrap_dim("linalg.matrix_norm", d, A.dim()) for d in dim)
    if rows == columns:
        raise RuntimeError(f"linalg.matrix_norm: dims must be different. Got {tuple(dim)}")
    x = A if dtype is None else A.to(dtype)
    if ord == "fro":
        return _core.norm(x, 2, (rows, columns), keepdim)
    if ord in (2, -2, "nuc"):
        values = svdvals(x.movedim((rows, columns), (-2, -1)))
        result = values.sum(-1) if ord == "nuc" else values.amax(-1) if ord == 2 else values.amin(-1)
        return result.unsqueeze(min(rows, columns)).unsqueeze(max(rows, columns)) if keepdim else result
    if ord not in (1, -1, math.inf, -math.inf):
        raise RuntimeError(f"linalg.matrix_norm: Order {ord} not supported.")
    inner, outer = (rows, columns) if abs(ord) == 1 else (columns, rows)
    sums = x.abs().sum(inner, keepdim=True)
    result = sums.amax(outer, keepdim=True) if ord > 0 else sums.amin(outer, keepdim=True)
    return result if keepdim else result.squeeze(max(rows, columns)).squeeze(min(rows, columns))


@with_out
def norm(A: Tensor, ord: Any = None, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The vector norm over one dim or all elements, the matrix norm over two."""
    need_tensor("linalg.norm", "A", A)
    if ord is None:
        return vector_norm(A, 2, dim, keepdim, dtype=dtype)
    if dim is None:
        if A.dim() not in (1, 2):
            raise RuntimeError(
                f"linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got {A.dim()}D"
            )
        dim = tuple(range(A.dim()))
    pair = not isinstance(dim, int) and len(dim) == 2
    if pair:
        return matrix_norm(A, ord, dim, keepdim, dtype=dtype)
    if isinstance(ord, str):
        raise RuntimeError(f"linalg.norm: order {ord!r} needs two dims, got dim={dim}")
    return vector_norm(A, ord, dim, keepdim, dtype=dtype)
