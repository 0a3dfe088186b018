"""Singular values, eigenvalues, QR, least squares. The factors are NumPy's (LAPACK's); their derivatives are written
here, in operations that can be differentiated again.

Sources: Giles (2008), An extended collection of matrix derivative results; Walter and Lehmann (2013), Algorithmic
differentiation of linear algebra functions, for QR; Golub and Pereyra (1973) for the pseudo-inverse.
"""

from __future__ import annotations

import math
from typing import Any

from unspool import _core
from unspool._core import Tensor
from unspool._functions._methods import named, need_tensor, with_out
from unspool._precision import in_float32
from unspool.autograd.function import Function
from unspool.linalg._numpy import as_matrices, as_tensor, check_matrix, numpy_linalg


def _gaps(values: Tensor) -> Tensor:
    """values[j] - values[i] at (i, j), 1 on the diagonal."""
    n = values.shape[-1]
    return values.unsqueeze(-2) - values.unsqueeze(-1) + _core.eye(n, dtype=values.dtype)


def _skew(x: Tensor) -> Tensor:
    return x - x.transpose(-2, -1)


def _diagonal(values: Tensor) -> Tensor:
    return values.unsqueeze(-1) * _core.eye(values.shape[-1], dtype=values.dtype)


class _SVD(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, full: bool) -> Any:
        factors = numpy_linalg("svd", "svd", x, full_matrices=full)
        u, s, vh = (make(f, x.dtype) for make, f in zip((as_matrices, as_tensor, as_matrices), factors, strict=True))
        ctx.save_for_backward(u, s, vh)
        ctx.full = full and x.shape[-1] != x.shape[-2]
        return u, s, vh

    @staticmethod
    def backward(ctx: Any, gu: Any, gs: Any, gvh: Any) -> Any:
        u, s, vh = ctx.saved_tensors
        k = s.shape[-1]
        if ctx.full and bool((gu != 0).any() | (gvh != 0).any()):
            raise NotImplementedError(
                "linalg.svd: the gradient of the singular vectors with full_matrices=True is not defined; use False"
            )
        u, vh, gu, gvh = u[..., :k], vh[..., :k, :], gu[..., :k], gvh[..., :k, :]
        ut, v, gv = u.transpose(-2, -1), vh.transpose(-2, -1), gvh.transpose(-2, -1)
        squares = _gaps(s * s)
        inner = (_skew(ut @ gu) / squares) * s.unsqueeze(-2) + s.unsqueeze(-1) * (_skew(vh @ gv) / squares)
        inner = inner + _diagonal(gs)
        result = u @ inner @ vh
        # What of gu and gv lies outside of the spaces that u and v span.
        if u.shape[-2] > k:
            result = result + ((gu - u @ (ut @ gu)) / s.unsqueeze(-2)) @ vh
        if v.shape[-2] > k:
            result = result + u @ ((gvh - (gvh @ v) @ vh) / s.unsqueeze(-1))
        return result, None


@with_out
@in_float32
def svd(A: Tensor, full_matrices: bool = True, *, driver: str | None = None) -> Any:
    """(U, S, Vh) of A = U diag(S) Vh, S in descending order; U and Vh square unless not full_matrices.

    The gradient is defined where the singular values differ, of U and Vh with full_matrices=False only.
    """
    check_matrix("svd", A, square=False)
    u, s, vh = _SVD.apply(A, full_matrices)
    return named("linalg_svd", u, s, vh)


@with_out
@in_float32
def svdvals(A: Tensor, *, driver: str | None = None) -> Tensor:
    """The singular values of matrices (…, n, m), in descending order, (…, min(n, m))."""
    check_matrix("svdvals", A, square=False)
    return _SVD.apply(A, False)[1]  # type: ignore[no-any-return]


class _Eigh(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, uplo: str) -> Any:
        values, vectors = numpy_linalg("eigh", "eigh", x, UPLO=uplo)
        w, v = as_tensor(values, x.dtype), as_matrices(vectors, x.dtype)
        ctx.save_for_backward(w, v)
        return w, v

    @staticmethod
    def backward(ctx: Any, gw: Any, gv: Any) -> Any:
        w, v = ctx.saved_tensors
        vt = v.transpose(-2, -1)
        off = 1 - _core.eye(w.shape[-1], dtype=w.dtype)
        # The part of vᵀ gv that is symmetric turns no vector.
        return v @ (0.5 * _skew(vt @ gv) / _gaps(w) * off + _diagonal(gw)) @ vt, None


@with_out
@in_float32
def eigh(A: Tensor, UPLO: str = "L") -> Any:
    """(eigenvalues, eigenvectors) of symmetric matrices, ascending, read from the lower ('L') or upper ('U') triangle.

    The gradient is defined where the eigenvalues differ.
    """
    check_matrix("eigh", A)
    if UPLO not in ("L", "U", "l", "u"):
        raise RuntimeError(f"linalg.eigh: Expected UPLO argument to be 'L' or 'U', but got {UPLO!r}")
    w, v = _Eigh.apply(A, UPLO.upper())
    return named("linalg_eigh", w, v)


@with_out
@in_float32
def eigvalsh(A: Tensor, UPLO: str = "L") -> Tensor:
    """The eigenvalues of symmetric matrices, ascending."""
    return eigh(A, UPLO)[0]  # type: ignore[no-any-return]


def eig(A: Tensor) -> Any:
    """NotImplementedError: eigenvalues of a matrix that is not symmetric are complex, and such dtypes are not there."""
    check_matrix("eig", A)
    raise NotImplementedError("linalg.eig: eigenvalues are complex, and there are no complex dtypes; see linalg.eigh")


def eigvals(A: Tensor) -> Tensor:
    """NotImplementedError, as `eig`."""
    check_matrix("eigvals", A)
    raise NotImplementedError("linalg.eigvals: eigenvalues are complex, and there are no complex dtypes; see eigvalsh")


class _QR(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, mode: str) -> Any:
        q, r = (as_matrices(f, x.dtype) for f in numpy_linalg("qr", "qr", x, mode=mode))
        ctx.save_for_backward(q, r)
        ctx.narrow = x.shape[-2] >= x.shape[-1] and (mode == "reduced" or x.shape[-2] == x.shape[-1])
        return q, r

    @staticmethod
    def backward(ctx: Any, gq: Any, gr: Any) -> Any:
        if not ctx.narrow:
            raise NotImplementedError(
                "linalg.qr: the gradient is there for matrices with no more columns than rows and mode='reduced'"
            )
        q, r = ctx.saved_tensors
        m = (gr @ r.transpose(-2, -1) - q.transpose(-2, -1) @ gq).triu()
        m = m + m.transpose(-2, -1) - _diagonal(_core.diagonal(m, 0, -2, -1))
        # (gq + q m) R^-T, as the solution of X Rᵀ = …
        return solve_triangular(r.transpose(-2, -1), gq + q @ m, upper=False, left=False), None


@with_out
@in_float32
def qr(A: Tensor, mode: str = "reduced") -> Any:
    """(Q, R) of A = QR, Q orthogonal and R upper triangular; Q (n, min(n, m)), or square with mode='complete', or empty
    with mode='r'."""
    check_matrix("qr", A, square=False)
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(f"linalg.qr: expected mode to be one of 'reduced', 'complete' or 'r', but got {mode!r}")
    q, r = _QR.apply(A, "reduced" if mode == "r" else mode)
    if mode == "r":
        q = _core.empty(0, dtype=A.dtype)
    return named("linalg_qr", q, r)


@with_out
def solve_triangular(A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False) -> Tensor:
    """X of A X = B (X A = B unless left), A (…, n, n) read in its upper or lower triangle, with a diagonal of 1 where
    unitriangular."""
    from unspool.linalg import solve

    check_matrix("solve_triangular", A)
    need_tensor("linalg.solve_triangular", "B", B)
    if B.dim() < 2:
        raise RuntimeError(f"linalg.solve_triangular: B must have at least 2 dimensions, got shape {tuple(B.shape)}")
    triangle = A.triu() if upper else A.tril()
    if unitriangular:
        one = _core.eye(A.shape[-1], dtype=A.dtype)
        triangle = triangle * (1 - one) + one
    return solve(triangle, B, left=left)


def _mirrored(x: Tensor) -> Tensor:
    """The symmetric matrix of x's lower triangle."""
    return x.tril() + x.tril(-1).transpose(-2, -1)


def _cutoff(s: Tensor, shape: Any, atol: Any, rtol: Any) -> Tensor:
    """Singular values up to this count as 0."""
    from unspool._functions.dtypes import finfo

    if rtol is None:
        rtol = 0.0 if atol is not None else max(shape[-2:]) * finfo(s.dtype).eps
    largest = s.amax(-1) if s.shape[-1] else _core.zeros(s.shape[:-1], dtype=s.dtype)
    relative = largest * rtol
    return relative if atol is None else _core.maximum(relative, _core.as_tensor(atol, dtype=s.dtype) + 0 * relative)


@with_out
def matrix_rank(A: Tensor, *, atol: Any = None, rtol: Any = None, hermitian: bool = False) -> Tensor:
    """How many singular values are above max(atol, rtol · the largest), int64; rtol is max(n, m) eps where neither is
    given."""
    check_matrix("matrix_rank", A, square=hermitian)
    s = svdvals(_mirrored(A.detach()) if hermitian else A.detach())
    return (s > _cutoff(s, A.shape, atol, rtol).unsqueeze(-1)).sum(-1)


class _PseudoInverse(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, atol: Any, rtol: Any, hermitian: bool) -> Tensor:
        u, s, vh = svd(_mirrored(x.detach()) if hermitian else x.detach(), full_matrices=False)
        kept = s > _cutoff(s, x.shape, atol, rtol).unsqueeze(-1)
        back = _core.where(kept, 1 / s, _core.zeros_like(s))
        y = vh.transpose(-2, -1) @ (back.unsqueeze(-1) * u.transpose(-2, -1))
        ctx.save_for_backward(x, y)
        return y  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        # dY = -Y dA Y + Y Yᵀ dAᵀ (1 - A Y) + (1 - Y A) dAᵀ Yᵀ Y, transposed
        a, y = ctx.saved_tensors
        yt, gt = y.transpose(-2, -1), g.transpose(-2, -1)
        outside = gt - (gt @ y) @ a  # gᵀ (1 - Y A)
        inside = gt - a @ (y @ gt)  # (1 - A Y) gᵀ
        return -(yt @ g @ yt) + inside @ y @ yt + yt @ y @ outside, None, None, None


@with_out
@in_float32
def pinv(A: Tensor, rcond: Any = None, hermitian: bool = False, *, atol: Any = None, rtol: Any = None) -> Tensor:
    """The Moore-Penrose inverse (…, m, n) of matrices (…, n, m); singular values up to max(atol, rtol · the largest)
    count as 0. `rcond` is the old name of rtol."""
    rtol = rcond if rtol is None else rtol
    check_matrix("pinv", A, square=hermitian)
    if 0 in A.shape:
        return A.transpose(-2, -1).clone()
    return _PseudoInverse.apply(A, atol, rtol, hermitian)  # type: ignore[no-any-return]


def lstsq(A: Tensor, B: Tensor, rcond: float | None = None, *, driver: str | None = None) -> Any:
    """(solution, residuals, rank, singular_values) of min ‖A X - B‖, A (…, m, n), B (…, m, k) or (…, m).

    The residuals are sums of squares, where m > n and each rank is n; else empty. The singular values are empty unless
    the driver is 'gelsd' or 'gelss'.
    """
    check_matrix("lstsq", A, square=False)
    need_tensor("linalg.lstsq", "B", B)
    if A.dtype != B.dtype:
        raise RuntimeError(f"linalg.lstsq: Expected A and B to have the same dtype, got {A.dtype} and {B.dtype}")
    if driver not in (None, "gels", "gelsy", "gelsd", "gelss"):
        raise RuntimeError(f"linalg.lstsq: driver must be one of 'gels', 'gelsy', 'gelsd' or 'gelss', got {driver!r}")
    vector = B.dim() == 1 or (A.dim() - 1 == B.dim() and B.shape == A.shape[:-1])
    right = B.unsqueeze(-1) if vector else B
    if right.shape[-2] != A.shape[-2]:
        raise RuntimeError(f"linalg.lstsq: Incompatible shapes of A {tuple(A.shape)} and B {tuple(B.shape)}")
    x = pinv(A, rtol=rcond) @ right
    rank = matrix_rank(A, rtol=rcond)
    none = _core.empty(0, dtype=A.dtype)
    residuals = none
    if A.shape[-2] > A.shape[-1] and bool((rank == A.shape[-1]).all()):
        residuals = ((A @ x - right) ** 2).sum(-2)
        residuals = residuals.squeeze(-1) if vector else residuals
    return named(
        "linalg_lstsq",
        x.squeeze(-1) if vector else x,
        residuals,
        _core.empty(0, dtype=_core.int64) if driver == "gels" else rank,
        svdvals(A.detach()) if driver in ("gelsd", "gelss") else none,
    )


@with_out
def cond(A: Tensor, p: Any = None) -> Tensor:
    """The condition number: the largest singular value by the smallest, or norm(A) norm(A⁻¹) of the norm p."""
    from unspool.linalg import inv, matrix_norm

    check_matrix("cond", A, square=p not in (None, 2, -2))
    if p in (None, 2, -2):
        s = svdvals(A)
        return s[..., -1] / s[..., 0] if p == -2 else s[..., 0] / s[..., -1]
    if p not in ("fro", "nuc", 1, -1, math.inf, -math.inf):
        raise RuntimeError(f"linalg.cond: got an invalid norm type: {p!r}")
    return matrix_norm(A, p) * matrix_norm(inv(A), p)
