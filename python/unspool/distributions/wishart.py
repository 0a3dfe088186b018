"""The Wishart distribution of matrices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from unspool import _core, _functions, linalg
from unspool._functions import mvlgamma
from unspool.distributions import constraints
from unspool.distributions._covariance import MATRICES, Covariance, given
from unspool.distributions.chi2 import Chi2
from unspool.distributions.distribution import Distribution

__all__ = ["Wishart"]


class Wishart(Covariance, Distribution):
    """The sum of df products x·xᵀ, x from N(0, Σ), Σ given as for `MultivariateNormal`; df is above d - 1.

    Raises:
        ValueError: not exactly one of the three matrices is given, or df is too small.
    """

    support = constraints.positive_definite
    has_rsample = True
    arg_constraints: ClassVar[Any] = {**MATRICES, "df": constraints.greater_than(0)}

    def __init__(
        self,
        df: Any,
        covariance_matrix: Any = None,
        precision_matrix: Any = None,
        scale_tril: Any = None,
        validate_args: bool | None = None,
    ) -> None:
        name, matrix = given(covariance_matrix, precision_matrix, scale_tril)
        if matrix.dim() < 2:
            raise ValueError("scale_tril must be at least two-dimensional, with optional leading batch dimensions")
        df = df if isinstance(df, _core.Tensor) else _core.tensor(float(df), dtype=matrix.dtype)
        batch, d = _functions.broadcast_shapes(df.shape, matrix.shape[:-2]), matrix.shape[-1]
        self.df = df.expand(batch)
        if bool((self.df <= d - 1).any()):
            raise ValueError(f"Value of df={self.df} is not greater than event_shape[-1]-1={d - 1}.")
        setattr(self, name, matrix.expand((*batch, d, d)))
        super().__init__(batch, (d, d), validate_args)
        self._chi2 = Chi2(self.df.unsqueeze(-1) - _core.arange(d, dtype=self.df.dtype).expand((*batch, d)))

    def expand(self, batch_shape: Sequence[int]) -> Any:
        d = self._event_shape[0]
        root = self._root.expand((*batch_shape, d, d))
        return Wishart(self.df.expand(batch_shape), scale_tril=root, validate_args=False)

    @property
    def mean(self) -> Any:
        return self.df.unsqueeze(-1).unsqueeze(-1) * self.covariance_matrix

    @property
    def mode(self) -> Any:
        factor = self.df - self._event_shape[0] - 1
        return _core.where(factor > 0, factor, math.nan).unsqueeze(-1).unsqueeze(-1) * self.covariance_matrix

    @property
    def variance(self) -> Any:
        v = self.covariance_matrix
        diagonal = v.diagonal(dim1=-2, dim2=-1)
        products = diagonal.unsqueeze(-1) * diagonal.unsqueeze(-2)
        return self.df.unsqueeze(-1).unsqueeze(-1) * (v.pow(2) + products)

    def _bartlett(self, sample_shape: Sequence[int]) -> Any:
        d = self._event_shape[0]
        least = _functions.finfo(self.df.dtype).eps
        noise = _functions.diag_embed(self._chi2.rsample(sample_shape).sqrt().clamp(min=least))
        i, j = _functions.tril_indices(d, d, -1)
        below = _core.randn((*sample_shape, *self._batch_shape, d * (d - 1) // 2), dtype=noise.dtype)
        noise[..., i, j] = below
        chol = self._root @ noise
        return chol @ chol.mT

    def rsample(self, sample_shape: Sequence[int] = ()) -> Any:
        """Draws by Bartlett's decomposition, as a function of Σ; by df they have no gradient, which raises.

        PyTorch takes a first draw that is positive definite for one that is not, and draws again: so does this.
        """
        dims = [-1 - i for i in range(len(self._batch_shape))]

        def any_of_batch(t: Any) -> Any:
            return t.amax(dims) if dims else t

        sample = self._bartlett(tuple(sample_shape))
        again = any_of_batch(self.support.check(sample))
        for _ in range(10):
            if not bool(again.any()):
                break
            new = self._bartlett(again[again].shape)
            sample[again] = new
            again[again.clone()] = ~any_of_batch(self.support.check(new))
        return sample

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        d, half = self._event_shape[0], self.df / 2
        log_root = self._root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        _, log_det = linalg.slogdet(value)
        root = self._root.expand(value.shape)
        solved = linalg.solve(root @ root.mT, value)
        trace = solved.diagonal(dim1=-2, dim2=-1).sum(-1)
        norms = half * d * math.log(2) + self.df * log_root + mvlgamma(half, d)
        return (self.df - d - 1) / 2 * log_det - trace / 2 - norms

    def entropy(self) -> Any:
        d, half = self._event_shape[0], self.df / 2
        log_root = self._root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        digammas = (half.unsqueeze(-1) - _core.arange(d, dtype=self.df.dtype) / 2).digamma().sum(-1)
        return (
            (d + 1) / 2 * d * math.log(2) + (d + 1) * log_root + mvlgamma(half, d)
            - (self.df - d - 1) / 2 * digammas + self.df * d / 2
        )  # fmt: skip
