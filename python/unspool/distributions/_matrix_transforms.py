"""Transforms to matrices, by a distribution's cdf, and of parts side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from unspool import _core, _functions, linalg
from unspool.distributions import constraints
from unspool.distributions._transform import Transform
from unspool.distributions.distribution import sum_last

__all__ = [
    "CatTransform", "CorrCholeskyTransform", "CumulativeDistributionTransform", "LowerCholeskyTransform",
    "PositiveDefiniteTransform", "StackTransform",
]  # fmt: skip

_matrix = constraints.independent(constraints.real, 2)


class LowerCholeskyTransform(Transform):
    """A matrix as a lower triangular one with a positive diagonal: the upper part left out, exp of the diagonal."""

    domain = _matrix
    codomain = constraints.lower_cholesky

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    __hash__ = Transform.__hash__

    def _call(self, x: Any) -> Any:
        return x.tril(-1) + _functions.diag_embed(x.diagonal(dim1=-2, dim2=-1).exp())

    def _inverse(self, y: Any) -> Any:
        return y.tril(-1) + _functions.diag_embed(y.diagonal(dim1=-2, dim2=-1).log())


class PositiveDefiniteTransform(LowerCholeskyTransform):
    """A matrix as L·Lᵀ, L being its `LowerCholeskyTransform`."""

    codomain = constraints.positive_definite

    def _call(self, x: Any) -> Any:
        root = super()._call(x)
        return root @ root.mT

    def _inverse(self, y: Any) -> Any:
        return super()._inverse(linalg.cholesky(y))


def _below(x: Any, offset: int) -> Any:
    """The elements below the diagonal, row after row."""
    i, j = _functions.tril_indices(x.shape[-2], x.shape[-1], offset)
    return x[..., i, j]


class CorrCholeskyTransform(Transform):
    """d(d - 1)/2 numbers as the lower triangular root of a d × d correlation matrix.

    Their tanh, in rows, are what each element takes of what the ones before leave of a row of length 1.
    """

    domain = constraints.real_vector
    codomain = constraints.corr_cholesky
    bijective = True

    def _call(self, x: Any) -> Any:
        eps = _functions.finfo(x.dtype).eps
        x = x.tanh().clamp(min=-1 + eps, max=1 - eps)
        d = self.forward_shape(x.shape)[-1]
        i, j = _functions.tril_indices(d, d, -1)
        flat = _core.zeros((*x.shape[:-1], d * d), dtype=x.dtype)
        r = flat.index_copy(-1, i * d + j, x).reshape(*x.shape[:-1], d, d)
        left = (1 - r**2).sqrt().cumprod(-1)[..., :-1]
        one = left.new_ones((*left.shape[:-1], 1))
        return (r + _core.eye(d, dtype=r.dtype)) * _core.cat([one, left], -1)

    def _inverse(self, y: Any) -> Any:
        left = 1 - (y * y).cumsum(-1)[..., :-1]
        left = _core.cat([left.new_ones((*left.shape[:-1], 1)), left], -1)
        t = _below(y, -1) / _below(left, -1).sqrt()
        return (t.log1p() - (-t).log1p()) / 2

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        from unspool.nn.functional import softplus

        broken = 0.5 * _below(1 - (y * y).cumsum(-1), -2).log().sum(-1)
        return broken - 2 * (x + softplus(-2 * x) - math.log(2.0)).sum(-1)

    def forward_shape(self, shape: Sequence[int]) -> Any:
        if len(shape) < 1:
            raise ValueError("Too few dimensions on input")
        n = shape[-1]
        d = round((0.25 + 2 * n) ** 0.5 + 0.5)
        if d * (d - 1) // 2 != n:
            raise ValueError("Input is not a flattened lower-diagonal number")
        return _core.Size((*shape[:-1], d, d))

    def inverse_shape(self, shape: Sequence[int]) -> Any:
        if len(shape) < 2 or shape[-2] != shape[-1]:
            raise ValueError(f"Input is not square: {tuple(shape)}")
        d = shape[-1]
        return _core.Size((*shape[:-2], d * (d - 1) // 2))


class CumulativeDistributionTransform(Transform):
    """y = the cdf of a distribution at x."""

    bijective = True
    codomain = constraints.unit_interval
    sign = 1

    def __init__(self, distribution: Any, cache_size: int = 0) -> None:
        super().__init__(cache_size)
        self.distribution = distribution

    @property
    def domain(self) -> Any:
        """What it maps."""
        return self.distribution.support

    def _call(self, x: Any) -> Any:
        return self.distribution.cdf(x)

    def _inverse(self, y: Any) -> Any:
        return self.distribution.icdf(y)

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        return self.distribution.log_prob(x)


class _Parts(Transform):
    """Transforms, each of its part of the argument along `dim`."""

    transforms: list[Any]
    dim: int

    @property
    def bijective(self) -> bool:  # type: ignore[override]
        """Whether it has an inverse."""
        return all(t.bijective for t in self.transforms)

    def _cut(self, x: Any) -> Any:
        raise NotImplementedError

    def _join(self, parts: list[Any]) -> Any:
        raise NotImplementedError

    def _call(self, x: Any) -> Any:
        return self._join([t(part) for t, part in zip(self.transforms, self._cut(x), strict=True)])

    def _inverse(self, y: Any) -> Any:
        return self._join([t.inv(part) for t, part in zip(self.transforms, self._cut(y), strict=True)])


class CatTransform(_Parts):
    """Transforms of slices, `lengths` long, side by side along a dim.

    Raises:
        ValueError: other than transforms, or other lengths than the argument has.
    """

    def __init__(
        self, tseq: Sequence[Transform], dim: int = 0, lengths: Sequence[int] | None = None, cache_size: int = 0
    ) -> None:
        if not all(isinstance(t, Transform) for t in tseq):
            raise ValueError("All elements of tseq must be Transform instances")
        super().__init__(cache_size)
        self.transforms = [t.with_cache(cache_size) for t in tseq] if cache_size else list(tseq)
        self.lengths = [1] * len(self.transforms) if lengths is None else list(lengths)
        if len(self.lengths) != len(self.transforms):
            raise ValueError(f"CatTransform: {len(self.transforms)} transforms, but {len(self.lengths)} lengths")
        self.dim = dim

    @property
    def event_dim(self) -> int:
        return max(int(t.event_dim) for t in self.transforms)

    @property
    def domain(self) -> Any:
        """What it maps."""
        return constraints.cat([t.domain for t in self.transforms], self.dim, self.lengths)

    @property
    def codomain(self) -> Any:
        """What it maps to."""
        return constraints.cat([t.codomain for t in self.transforms], self.dim, self.lengths)

    def _cut(self, x: Any) -> Any:
        if x.shape[self.dim] != sum(self.lengths):
            raise ValueError(f"CatTransform: dim {self.dim} has size {x.shape[self.dim]}, not {sum(self.lengths)}")
        return x.split(self.lengths, self.dim)

    def _join(self, parts: list[Any]) -> Any:
        return _core.cat(parts, self.dim)

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        found = []
        for t, a, b in zip(self.transforms, self._cut(x), self._cut(y), strict=True):
            found.append(sum_last(t.log_abs_det_jacobian(a, b), self.event_dim - t.event_dim))
        dim = (self.dim if self.dim < 0 else self.dim - x.dim()) + self.event_dim
        return _core.cat(found, dim) if dim < 0 else sum(found[1:], found[0])


class StackTransform(_Parts):
    """Transforms of the slices of a dim, one each.

    Raises:
        ValueError: other than transforms, or another number of slices.
    """

    def __init__(self, tseq: Sequence[Transform], dim: int = 0, cache_size: int = 0) -> None:
        if not all(isinstance(t, Transform) for t in tseq):
            raise ValueError("All elements of tseq must be Transform instances")
        super().__init__(cache_size)
        self.transforms = [t.with_cache(cache_size) for t in tseq] if cache_size else list(tseq)
        self.dim = dim

    @property
    def domain(self) -> Any:
        """What it maps."""
        return constraints.stack([t.domain for t in self.transforms], self.dim)

    @property
    def codomain(self) -> Any:
        """What it maps to."""
        return constraints.stack([t.codomain for t in self.transforms], self.dim)

    def _cut(self, x: Any) -> Any:
        if x.shape[self.dim] != len(self.transforms):
            raise ValueError(
                f"StackTransform: dim {self.dim} has {x.shape[self.dim]} slices, not {len(self.transforms)}"
            )
        return x.unbind(self.dim)

    def _join(self, parts: list[Any]) -> Any:
        return _core.stack(parts, self.dim)

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        each = zip(self.transforms, self._cut(x), self._cut(y), strict=True)
        return _core.stack([t.log_abs_det_jacobian(a, b) for t, a, b in each], self.dim)
