"""Probability distributions with parameters that may require grad, after `torch.distributions`."""

from __future__ import annotations

from unspool.distributions import constraints, kl, transforms
from unspool.distributions.bernoulli import Bernoulli
from unspool.distributions.beta import Beta
from unspool.distributions.binomial import Binomial
from unspool.distributions.categorical import Categorical
from unspool.distributions.cauchy import Cauchy
from unspool.distributions.chi2 import Chi2
from unspool.distributions.dirichlet import Dirichlet
from unspool.distributions.distribution import Distribution
from unspool.distributions.exponential import Exponential
from unspool.distributions.gamma import Gamma
from unspool.distributions.geometric import Geometric
from unspool.distributions.gumbel import Gumbel
from unspool.distributions.half_normal import HalfNormal
from unspool.distributions.independent import Independent
from unspool.distributions.kl import kl_divergence, register_kl
from unspool.distributions.laplace import Laplace
from unspool.distributions.log_normal import LogNormal
from unspool.distributions.mixture_same_family import MixtureSameFamily
from unspool.distributions.multinomial import Multinomial
from unspool.distributions.multivariate_normal import MultivariateNormal
from unspool.distributions.normal import Normal
from unspool.distributions.one_hot_categorical import OneHotCategorical, OneHotCategoricalStraightThrough
from unspool.distributions.poisson import Poisson
from unspool.distributions.relaxed_bernoulli import RelaxedBernoulli
from unspool.distributions.relaxed_categorical import RelaxedOneHotCategorical
from unspool.distributions.studentT import StudentT
from unspool.distributions.transformed_distribution import TransformedDistribution
from unspool.distributions.transforms import (
    AbsTransform,
    AffineTransform,
    ComposeTransform,
    ExpTransform,
    IndependentTransform,
    PowerTransform,
    ReshapeTransform,
    SigmoidTransform,
    SoftmaxTransform,
    SoftplusTransform,
    StickBreakingTransform,
    TanhTransform,
    Transform,
    identity_transform,
)
from unspool.distributions.uniform import Uniform

__all__ = [
    "AbsTransform",
    "AffineTransform",
    "Bernoulli",
    "Beta",
    "Binomial",
    "Categorical",
    "Cauchy",
    "Chi2",
    "ComposeTransform",
    "Dirichlet",
    "Distribution",
    "ExpTransform",
    "Exponential",
    "Gamma",
    "Geometric",
    "Gumbel",
    "HalfNormal",
    "Independent",
    "IndependentTransform",
    "Laplace",
    "LogNormal",
    "MixtureSameFamily",
    "Multinomial",
    "MultivariateNormal",
    "Normal",
    "OneHotCategorical",
    "OneHotCategoricalStraightThrough",
    "Poisson",
    "PowerTransform",
    "RelaxedBernoulli",
    "RelaxedOneHotCategorical",
    "ReshapeTransform",
    "SigmoidTransform",
    "SoftmaxTransform",
    "SoftplusTransform",
    "StickBreakingTransform",
    "StudentT",
    "TanhTransform",
    "Transform",
    "TransformedDistribution",
    "Uniform",
    "constraints",
    "identity_transform",
    "kl",
    "kl_divergence",
    "register_kl",
    "transforms",
]
