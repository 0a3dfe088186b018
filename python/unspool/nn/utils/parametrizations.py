"""Ready-made parametrizations: `weight_norm`, `spectral_norm`, `orthogonal`."""

from __future__ import annotations

from typing import Any

from unspool import _core
from unspool import _functions as _core_functions
from unspool.autograd.grad_mode import no_grad
from unspool.linalg import qr, solve
from unspool.nn import functional
from unspool.nn.modules.module import Module
from unspool.nn.utils.parametrize import register_parametrization

__all__ = ["orthogonal", "spectral_norm", "weight_norm"]


def norm_except_dim(v: Any, dim: int) -> Any:
    """The 2-norm over all dims but one, which stays, the others of size 1; over all dims where dim is -1."""
    if dim == -1:
        return v.norm()
    return v.norm(2, [d for d in range(v.dim()) if d != dim], keepdim=True) if v.dim() > 1 else v.abs()


class _WeightNorm(Module):
    def __init__(self, dim: int | None = 0) -> None:
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g: Any, weight_v: Any) -> Any:
        return weight_v * (weight_g / norm_except_dim(weight_v, self.dim))

    def right_inverse(self, weight: Any) -> tuple[Any, Any]:
        return norm_except_dim(weight, self.dim), weight


def weight_norm(module: Any, name: str = "weight", dim: int | None = 0) -> Any:
    """Make a parameter g · v / |v|: `original0` is the length g, `original1` the direction v. (Salimans, Kingma, 2016)

    The norm is over all dims but `dim`, or over all where it is None. Returns `module`.
    """
    register_parametrization(module, name, _WeightNorm(dim), unsafe=True)

    def renamed(state_dict: Any, prefix: str, *rest: Any) -> None:
        # names of the older weight_norm
        for old, new in (("_g", "original0"), ("_v", "original1")):
            if prefix + name + old in state_dict:
                state_dict[f"{prefix}parametrizations.{name}.{new}"] = state_dict.pop(prefix + name + old)

    module._register_load_state_dict_pre_hook(renamed)
    return module


class _SpectralNorm(Module):
    """Divides a weight by its largest singular value, which a power iteration follows."""

    _u: Any
    _v: Any

    def __init__(self, weight: Any, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12) -> None:
        super().__init__()
        ndim = weight.dim()
        if not -ndim <= dim < ndim:
            raise IndexError(f"spectral_norm: dim must lie in [{-ndim}, {ndim - 1}], got {dim}")
        if n_power_iterations <= 0:
            raise ValueError(f"spectral_norm: n_power_iterations must be positive, got {n_power_iterations}")
        self.dim = dim % ndim
        self.eps = eps
        if ndim > 1:
            self.n_power_iterations = n_power_iterations
            matrix = self._matrix(weight)
            for name, size in (("_u", matrix.shape[0]), ("_v", matrix.shape[1])):
                drawn = _core.empty(size, dtype=weight.dtype).normal_(0, 1)
                self.register_buffer(name, functional.normalize(drawn, dim=0, eps=eps))
            self._iterate(matrix, 15)

    def _matrix(self, weight: Any) -> Any:
        return weight.movedim(self.dim, 0).flatten(1) if self.dim else weight.flatten(1)

    def _iterate(self, matrix: Any, times: int) -> None:
        with no_grad():
            for _ in range(times):
                functional.normalize(matrix.mv(self._v), dim=0, eps=self.eps, out=self._u)
                functional.normalize(matrix.t().mv(self._u), dim=0, eps=self.eps, out=self._v)

    def forward(self, weight: Any) -> Any:
        if weight.dim() == 1:
            return functional.normalize(weight, dim=0, eps=self.eps)
        matrix = self._matrix(weight)
        if self.training:
            self._iterate(matrix, self.n_power_iterations)
        # copies: the next step overwrites the buffers, which backward still needs
        u, v = self._u.clone(), self._v.clone()
        return weight / u.dot(matrix.mv(v))

    def right_inverse(self, value: Any) -> Any:
        return value


def spectral_norm(
    module: Any, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> Any:
    """Divide a parameter by its largest singular value: the map's Lipschitz constant is 1. (Miyato et al., 2018)

    A weight of more than two dims counts as a matrix with `dim` (0) in front. Each forward in training takes
    n_power_iterations steps towards the singular vectors. Returns `module`.
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, _core.Tensor):
        raise ValueError(f"spectral_norm: {type(module).__name__} has no parameter or buffer named {name!r}")
    if dim is None:
        dim = 1 if type(module).__name__.startswith("ConvTranspose") else 0
    register_parametrization(module, name, _SpectralNorm(weight, n_power_iterations, dim, eps))
    return module


class _Orthogonal(Module):
    """Maps a matrix to one with orthonormal columns (of a wide one: rows), which `base`, where there is one, turns.

    The maps: the matrix exponential or Cayley's map of X - Xᵀ, X being the lower triangle; or the product of the
    reflections whose vectors stand below the diagonal. (Lezcano-Casado and Martínez-Rubio, 2019)
    """

    base: Any

    def __init__(self, weight: Any, orthogonal_map: str, use_trivialization: bool) -> None:
        super().__init__()
        self.shape = weight.shape
        self.orthogonal_map = orthogonal_map
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, X: Any) -> Any:
        wide = X.shape[-2] < X.shape[-1]
        x = X.mT if wide else X
        n, k = x.shape[-2:]
        if self.orthogonal_map == "householder":
            q = _reflected(x)
        else:
            low = functional.pad(x.tril(), [0, n - k])
            skew = low - low.mT
            if self.orthogonal_map == "matrix_exp":
                q = _core_functions.matrix_exp(skew)
            else:
                one = _core.eye(n, dtype=x.dtype)
                q = solve(one - 0.5 * skew, one + 0.5 * skew)
            q = q[..., :k]
        if hasattr(self, "base"):
            q = self.base @ q
        return q.mT if wide else q

    def right_inverse(self, Q: Any) -> Any:
        with no_grad():
            return self._start_at(Q)

    def _start_at(self, Q: Any) -> Any:
        if Q.shape != self.shape:
            raise ValueError(
                f"orthogonal: Expected a matrix or batch of matrices of shape {tuple(self.shape)}. Got a tensor of "
                f"shape {tuple(Q.shape)}."
            )
        wide = Q.shape[-2] < Q.shape[-1]
        x = Q.mT if wide else Q
        n, k = x.shape[-2:]
        if not hasattr(self, "base"):
            if self.orthogonal_map != "householder":
                raise NotImplementedError(
                    "It is not possible to assign to the matrix exponential or the Cayley parametrizations when "
                    "use_trivialization=False."
                )
            packed = _reflectors(x)
            return packed.mT if wide else packed
        if n != k:  # completed to a square matrix
            more = _core.randn(*x.shape[:-2], n, n - k, dtype=x.dtype)
            self.base = _orthonormal(_core.cat([x, more], dim=-1))
        else:
            product, one = x.mT @ x, _core.eye(n, dtype=x.dtype)
            is_one = _core_functions.allclose(product, one, atol=10.0 * n * _core_functions.finfo(x.dtype).eps)
            self.base = x.clone() if is_one else _orthonormal(x)
        # each map takes it to the identity, of reflections the diagonal is the sign
        start = _core.zeros_like(Q)
        start.diagonal(dim1=-2, dim2=-1).fill_(-1.0)
        return start


def _orthonormal(x: Any) -> Any:
    """Q of the QR factorisation in which R's diagonal is positive."""
    q, r = qr(x)
    return q * r.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)


def _reflected(x: Any) -> Any:
    """The first columns of ∏(1 - tau·v·vᵀ), v being 1 and what stands below x's diagonal; its diagonal gives signs."""
    n, k = x.shape[-2:]
    below = x.tril(-1)
    vectors = below + _core.eye(n, k, dtype=x.dtype)
    tau = 2.0 / (1.0 + (below * below).sum(dim=-2))
    q = _core.eye(n, k, dtype=x.dtype).expand(x.shape)
    for i in reversed(range(k)):
        v = vectors[..., i : i + 1]
        q = q - (tau[..., i, None, None] * v) @ (v.mT @ q)
    return q * x.detach().diagonal(dim1=-2, dim2=-1).trunc().unsqueeze(-2)


def _reflectors(x: Any) -> Any:
    """The reflections that LAPACK's QR makes of x, below a diagonal of R's signs: what `_reflected` maps to Q."""
    import numpy as np

    flat = x.reshape(-1, *x.shape[-2:])
    found = []
    for matrix in flat:
        h, tau = np.linalg.qr(matrix.detach().numpy(), mode="raw")
        packed = _core.tensor(np.ascontiguousarray(h.T), dtype=x.dtype)
        signs = packed.diagonal().sign()
        signs[_core.tensor(tau == 0)] *= -1
        packed.diagonal().copy_(signs)
        found.append(packed)
    return _core.stack(found).reshape(x.shape)


def orthogonal(
    module: Any, name: str = "weight", orthogonal_map: str | None = None, *, use_trivialization: bool = True
) -> Any:
    """Keep a matrix orthogonal (with orthonormal columns, or rows of a wide one). Returns `module`.

    Args:
        orthogonal_map: 'matrix_exp', the default for square matrices, 'cayley' or 'householder'.
        use_trivialization: whether a fixed factor, in front, takes what is assigned; the parameter then starts at
            the identity. Without it only 'householder' can be assigned to.

    Raises:
        ValueError: no such parameter, one of less than two dims, or an unknown map.
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, _core.Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    if weight.dim() < 2:
        raise ValueError(
            f"orthogonal: Expected a matrix or batch of matrices. Got a tensor of {weight.dim()} dimensions."
        )
    if orthogonal_map is None:
        orthogonal_map = "matrix_exp" if weight.shape[-2] == weight.shape[-1] else "householder"
    if orthogonal_map not in ("matrix_exp", "cayley", "householder"):
        raise ValueError(
            f'orthogonal_map has to be one of "matrix_exp", "cayley", "householder". Got: {orthogonal_map}'
        )
    register_parametrization(module, name, _Orthogonal(weight, orthogonal_map, use_trivialization), unsafe=True)
    return module
