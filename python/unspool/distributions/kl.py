"""`kl_divergence(p, q)`, in closed form for the pairs registered here, and `register_kl` for others."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from unspool import _core, linalg
from unspool.distributions.bernoulli import Bernoulli
from unspool.distributions.beta import Beta
from unspool.distributions.binomial import Binomial
from unspool.distributions.categorical import Categorical
from unspool.distributions.cauchy import Cauchy
from unspool.distributions.continuous_bernoulli import ContinuousBernoulli
from unspool.distributions.dirichlet import Dirichlet
from unspool.distributions.distribution import Distribution
from unspool.distributions.exponential import Exponential
from unspool.distributions.gamma import Gamma
from unspool.distributions.geometric import Geometric
from unspool.distributions.gumbel import EULER, Gumbel
from unspool.distributions.half_cauchy import HalfCauchy
from unspool.distributions.half_normal import HalfNormal
from unspool.distributions.independent import Independent
from unspool.distributions.laplace import Laplace
from unspool.distributions.lowrank_multivariate_normal import LowRankMultivariateNormal
from unspool.distributions.multivariate_normal import MultivariateNormal
from unspool.distributions.normal import Normal
from unspool.distributions.one_hot_categorical import OneHotCategorical
from unspool.distributions.pareto import Pareto
from unspool.distributions.poisson import Poisson
from unspool.distributions.transformed_distribution import TransformedDistribution
from unspool.distributions.uniform import Uniform

__all__ = ["kl_divergence", "register_kl"]

_Formula = Callable[[Any, Any], Any]
_formulas: dict[tuple[type, type], _Formula] = {}


def register_kl(type_p: type[Distribution], type_q: type[Distribution]) -> Callable[[_Formula], _Formula]:
    """A decorator for the formula of a pair of types; subclasses use it too, unless they have one of their own."""

    def keep(formula: _Formula) -> _Formula:
        _formulas[type_p, type_q] = formula
        return formula

    return keep


def kl_divergence(p: Distribution, q: Distribution) -> Any:
    """∫ p·log(p / q), in nats, one number for each entry of the batch.

    Raises:
        NotImplementedError: there is no formula for these two.
    """
    for a in type(p).__mro__:
        for b in type(q).__mro__:
            if (a, b) in _formulas:
                return _formulas[a, b](p, q)
    raise NotImplementedError(
        f"No KL(p || q) is implemented for p type {type(p).__name__} and q type {type(q).__name__}"
    )


@register_kl(Normal, Normal)
def _normal(p: Normal, q: Normal) -> Any:
    ratio = (p.scale / q.scale).pow(2)
    return 0.5 * (ratio + ((p.loc - q.loc) / q.scale).pow(2) - 1 - ratio.log())


@register_kl(Bernoulli, Bernoulli)
def _bernoulli(p: Bernoulli, q: Bernoulli) -> Any:
    softplus = _softplus
    t = p.probs * (softplus(-q.logits) - softplus(-p.logits))
    return t + (1 - p.probs) * (softplus(q.logits) - softplus(p.logits))


def _softplus(x: Any) -> Any:
    from unspool.nn.functional import softplus

    return softplus(x)


@register_kl(Categorical, Categorical)
def _categorical(p: Categorical, q: Categorical) -> Any:
    t = p.probs * (p.logits - q.logits)
    t = _core.where((q.probs == 0).expand(t.shape), float("inf"), t)
    return _core.where((p.probs == 0).expand(t.shape), 0.0, t).sum(-1)


@register_kl(Uniform, Uniform)
def _uniform(p: Uniform, q: Uniform) -> Any:
    inside = (q.low <= p.low).logical_and(q.high >= p.high)
    return _core.where(inside, ((q.high - q.low) / (p.high - p.low)).log(), float("inf"))


@register_kl(Exponential, Exponential)
def _exponential(p: Exponential, q: Exponential) -> Any:
    ratio = q.rate / p.rate
    return ratio - 1 - ratio.log()


@register_kl(Laplace, Laplace)
def _laplace(p: Laplace, q: Laplace) -> Any:
    ratio = p.scale / q.scale
    distance = (p.loc - q.loc).abs()
    return -ratio.log() + distance / q.scale + ratio * (-distance / p.scale).exp() - 1


@register_kl(MultivariateNormal, MultivariateNormal)
def _multivariate_normal(p: MultivariateNormal, q: MultivariateNormal) -> Any:
    whitened = linalg.solve(q._root, p._root)
    shift = linalg.solve(q._root, (q.loc - p.loc).unsqueeze(-1)).squeeze(-1)
    trace = whitened.pow(2).flatten(-2).sum(-1)
    return q._half_log_det() - p._half_log_det() + 0.5 * (trace + shift.pow(2).sum(-1) - p.event_shape[0])


@register_kl(Independent, Independent)
def _independent(p: Independent, q: Independent) -> Any:
    n = p.reinterpreted_batch_ndims
    if n != q.reinterpreted_batch_ndims:
        raise NotImplementedError(f"kl_divergence: event dimensions differ, {n} and {q.reinterpreted_batch_ndims}")
    each = kl_divergence(p.base_dist, q.base_dist)
    return each.reshape((*each.shape[: each.dim() - n], -1)).sum(-1) if n else each


@register_kl(Beta, Beta)
def _beta(p: Beta, q: Beta) -> Any:
    return _dirichlet(p._dirichlet, q._dirichlet)


@register_kl(Dirichlet, Dirichlet)
def _dirichlet(p: Dirichlet, q: Dirichlet) -> Any:
    a, b = p.concentration, q.concentration
    total = a.sum(-1)
    norms = total.lgamma() - b.sum(-1).lgamma() - (a.lgamma() - b.lgamma()).sum(-1)
    return norms + ((a - b) * (a.digamma() - total.digamma().unsqueeze(-1))).sum(-1)


@register_kl(Gamma, Gamma)
def _gamma(p: Gamma, q: Gamma) -> Any:
    a, b = p.concentration, q.concentration
    norms = b * (p.rate / q.rate).log() + b.lgamma() - a.lgamma()
    return norms + (a - b) * a.digamma() + (q.rate - p.rate) * (a / p.rate)


@register_kl(Poisson, Poisson)
def _poisson(p: Poisson, q: Poisson) -> Any:
    return p.rate * (p.rate.log() - q.rate.log()) - (p.rate - q.rate)


@register_kl(Geometric, Geometric)
def _geometric(p: Geometric, q: Geometric) -> Any:
    return -p.entropy() - (-q.probs).log1p() / p.probs - q.logits


@register_kl(Binomial, Binomial)
def _binomial(p: Binomial, q: Binomial) -> Any:
    if bool((p.total_count < q.total_count).any()):
        raise NotImplementedError("KL between Binomials where q.total_count > p.total_count is not implemented")
    kl = p.total_count * (p.probs * (p.logits - q.logits) + (-p.probs).log1p() - (-q.probs).log1p())
    return _core.where(p.total_count > q.total_count, float("inf"), kl)


@register_kl(HalfNormal, HalfNormal)
def _half_normal(p: HalfNormal, q: HalfNormal) -> Any:
    return _normal(p.base_dist, q.base_dist)


@register_kl(OneHotCategorical, OneHotCategorical)
def _one_hot(p: OneHotCategorical, q: OneHotCategorical) -> Any:
    return _categorical(p._categorical, q._categorical)


@register_kl(Pareto, Pareto)
def _pareto(p: Pareto, q: Pareto) -> Any:
    ratio = q.alpha / p.alpha
    kl = q.alpha * (p.scale / q.scale).log() - ratio.log() + ratio - 1
    return _core.where(p.scale < q.scale, float("inf"), kl)


@register_kl(Gumbel, Gumbel)
def _gumbel(p: Gumbel, q: Gumbel) -> Any:
    ratio = p.scale / q.scale
    shift, to = q.loc / q.scale, p.loc / q.scale
    return -ratio.log() - shift + to + ratio * EULER + (shift + (1 + ratio).lgamma() - to).exp() - (1 + EULER)


@register_kl(Cauchy, Cauchy)
def _cauchy(p: Cauchy, q: Cauchy) -> Any:
    squares = (p.scale + q.scale).pow(2) + (p.loc - q.loc).pow(2)
    return squares.log() - (4 * p.scale * q.scale).log()


@register_kl(HalfCauchy, HalfCauchy)
def _half_cauchy(p: HalfCauchy, q: HalfCauchy) -> Any:
    return _cauchy(p.base_dist, q.base_dist)


@register_kl(ContinuousBernoulli, ContinuousBernoulli)
def _continuous_bernoulli(p: ContinuousBernoulli, q: ContinuousBernoulli) -> Any:
    t = p.mean * (p.logits - q.logits) + p._log_norm() + (-p.probs).log1p()
    return t - q._log_norm() - (-q.probs).log1p()


@register_kl(Uniform, Normal)
def _uniform_normal(p: Uniform, q: Normal) -> Any:
    width = p.high - p.low
    middle = (p.high + p.low - 2 * q.loc) / 2
    return (math.sqrt(2 * math.pi) * q.scale / width).log() + (width.pow(2) / 12 + middle.pow(2)) / (2 * q.scale.pow(2))


@register_kl(Normal, Laplace)
def _normal_laplace(p: Normal, q: Laplace) -> Any:
    shift = p.loc - q.loc
    z = shift / p.scale
    mean = math.sqrt(2 / math.pi) * p.scale * (-0.5 * z.pow(2)).exp() + shift * (math.sqrt(0.5) * z).erf()
    return -(p.scale / q.scale).log() + mean / q.scale - 0.5 * math.log(0.5 * math.pi) - 0.5


@register_kl(Exponential, Gamma)
def _exponential_gamma(p: Exponential, q: Gamma) -> Any:
    ratio, a = q.rate / p.rate, q.concentration
    return -a * ratio.log() + ratio + a.lgamma() + a * EULER - (1 + EULER)


@register_kl(Gamma, Exponential)
def _gamma_exponential(p: Gamma, q: Exponential) -> Any:
    return -p.entropy() - q.rate.log() + q.rate * p.concentration / p.rate


@register_kl(Beta, Normal)
def _beta_normal(p: Beta, q: Normal) -> Any:
    distance = (p.variance + (p.mean - q.loc).pow(2)) / q.scale.pow(2)
    return -p.entropy() + 0.5 * (q.scale.pow(2) * 2 * math.pi).log() + 0.5 * distance


@register_kl(LowRankMultivariateNormal, LowRankMultivariateNormal)
@register_kl(LowRankMultivariateNormal, MultivariateNormal)
@register_kl(MultivariateNormal, LowRankMultivariateNormal)
def _low_rank(p: Any, q: Any) -> Any:
    full = [
        d if isinstance(d, MultivariateNormal) else MultivariateNormal(d.loc, d.covariance_matrix, validate_args=False)
        for d in (p, q)
    ]
    return _multivariate_normal(*full)


@register_kl(TransformedDistribution, TransformedDistribution)
def _transformed(p: TransformedDistribution, q: TransformedDistribution) -> Any:
    if p.transforms != q.transforms or p.event_shape != q.event_shape:
        raise NotImplementedError("kl_divergence: the two have other transforms, or events of other shapes")
    n = len(p.event_shape) - len(p.base_dist.event_shape)
    each = kl_divergence(p.base_dist, q.base_dist)
    return each.reshape((*each.shape[: each.dim() - n], -1)).sum(-1) if n else each
