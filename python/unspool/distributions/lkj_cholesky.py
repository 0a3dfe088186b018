"""The distribution of Lewandowski, Kurowicka and Joe of correlation matrices, by their roots."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from unspool import _core, _functions
from unspool._functions import mvlgamma
from unspool.autograd.grad_mode import no_grad
from unspool.distributions import constraints
from unspool.distributions.beta import Beta
from unspool.distributions.distribution import Distribution, broadcast_all

__all__ = ["LKJCholesky"]


class LKJCholesky(Distribution):
    """Lower triangular roots (dim × dim) of correlation matrices of density proportional to det^(concentration - 1).

    Raises:
        ValueError: a dim below 2.
    """

    arg_constraints: ClassVar[Any] = {"concentration": constraints.positive}
    support = constraints.corr_cholesky

    def __init__(self, dim: int, concentration: Any = 1.0, validate_args: bool | None = None) -> None:
        if dim < 2:
            raise ValueError(f"Expected dim to be an integer greater than or equal to 2. Found dim={dim}.")
        self.dim = dim
        (self.concentration,) = broadcast_all(concentration)
        # of each row's length, whose square is beta distributed (the onion method, section 3.2 of the paper)
        marginal = self.concentration + 0.5 * (dim - 2)
        offset = _core.arange(dim - 1, dtype=self.concentration.dtype)
        offset = _core.cat([offset.new_zeros((1,)), offset])
        self._beta = Beta(offset + 0.5, marginal.unsqueeze(-1) - 0.5 * offset)
        super().__init__(self.concentration.shape, (dim, dim), validate_args)

    def expand(self, batch_shape: Sequence[int]) -> Any:
        return LKJCholesky(self.dim, self.concentration.expand(batch_shape), False)

    def sample(self, sample_shape: Sequence[int] = ()) -> Any:
        with no_grad():
            y = self._beta.sample(sample_shape).unsqueeze(-1)
            normal = _core.randn(self._extended_shape(sample_shape), dtype=y.dtype).tril(-1)
            sphere = normal / normal.norm(dim=-1, keepdim=True)
            sphere[..., 0, :].fill_(0.0)
            w = y.sqrt() * sphere
            least = _functions.finfo(w.dtype).tiny
            return w + _functions.diag_embed((1 - (w**2).sum(-1)).clamp(min=least).sqrt())

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        n = self.dim
        diagonal = value.diagonal(dim1=-1, dim2=-2)[..., 1:]
        order = 2 * (self.concentration - 1).unsqueeze(-1) + n - _core.arange(2, n + 1)
        scores = (order * diagonal.log()).sum(-1)
        alpha = self.concentration + 0.5 * (n - 1)
        norm = 0.5 * (n - 1) * math.log(math.pi) + mvlgamma(alpha - 0.5, n - 1) - alpha.lgamma() * (n - 1)
        return scores - norm
