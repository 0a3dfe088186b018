"""Probability distributions with parameters that may require grad, after `torch.distributions`."""

from __future__ import annotations

from unspool.distributions import constraints, kl
from unspool.distributions.bernoulli import Bernoulli
from unspool.distributions.categorical import Categorical
from unspool.distributions.distribution import Distribution
from unspool.distributions.exponential import Exponential
from unspool.distributions.independent import Independent
from unspool.distributions.kl import kl_divergence, register_kl
from unspool.distributions.laplace import Laplace
from unspool.distributions.mixture_same_family import MixtureSameFamily
from unspool.distributions.multivariate_normal import MultivariateNormal
from unspool.distributions.normal import Normal
from unspool.distributions.uniform import Uniform

__all__ = [
    "Bernoulli",
    "Categorical",
    "Distribution",
    "Exponential",
    "Independent",
    "Laplace",
    "MixtureSameFamily",
    "MultivariateNormal",
    "Normal",
    "Uniform",
    "constraints",
    "kl",
    "kl_divergence",
    "register_kl",
]
