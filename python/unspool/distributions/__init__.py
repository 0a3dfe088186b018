"""Probability distributions with parameters that may require grad, after `torch.distributions`."""

from __future__ import annotations

from unspool.distributions import constraints, kl, transforms
from unspool.distributions.bernoulli import Bernoulli
from unspool.distributions.beta import Beta
from unspool.distributions.binomial import Binomial
from unspool.distributions.categorical import Categorical
from unspool.distributions.cauchy import Cauchy
from unspool.distributions.chi2 import Chi2
from unspool.distributions.constraint_registry import biject_to, transform_to
from unspool.distributions.continuous_bernoulli import ContinuousBernoulli
from unspool.distributions.dirichlet import Dirichlet
from unspool.distributions.distribution import Distribution
from unspool.distributions.exponential import Exponential
from unspool.distributions.fishersnedecor import FisherSnedecor
from unspool.distributions.gamma import Gamma
from unspool.distributions.geometric import Geometric
from unspool.distributions.gumbel import Gumbel
from unspool.distributions.half_cauchy import HalfCauchy
from unspool.distributions.half_normal import HalfNormal
from unspool.distributions.independent import Independent
from unspool.distributions.inverse_gamma import InverseGamma
from unspool.distributions.kl import kl_divergence, register_kl
from unspool.distributions.kumaraswamy import Kumaraswamy
from unspool.distributions.laplace import Laplace
from unspool.distributions.lkj_cholesky import LKJCholesky
from unspool.distributions.log_normal import LogNormal
from unspool.distributions.logistic_normal import LogisticNormal
from unspool.distributions.lowrank_multivariate_normal import LowRankMultivariateNormal
from unspool.distributions.mixture_same_family import MixtureSameFamily
from unspool.distributions.multinomial import Multinomial
from unspool.distributions.multivariate_normal import MultivariateNormal
from unspool.distributions.negative_binomial import NegativeBinomial
from unspool.distributions.normal import Normal
from unspool.distributions.one_hot_categorical import OneHotCategorical, OneHotCategoricalStraightThrough
from unspool.distributions.pareto import GeneralizedPareto, Pareto
from unspool.distributions.poisson import Poisson
from unspool.distributions.relaxed_bernoulli import RelaxedBernoulli
from unspool.distributions.relaxed_categorical import RelaxedOneHotCategorical
from unspool.distributions.studentT import StudentT
from unspool.distributions.transformed_distribution import TransformedDistribution
from unspool.distributions.transforms import (
    AbsTransform,
    AffineTransform,
    CatTransform,
    ComposeTransform,
    CorrCholeskyTransform,
    CumulativeDistributionTransform,
    ExpTransform,
    IndependentTransform,
    LowerCholeskyTransform,
    PositiveDefiniteTransform,
    PowerTransform,
    ReshapeTransform,
    SigmoidTransform,
    SoftmaxTransform,
    SoftplusTransform,
    StackTransform,
    StickBreakingTransform,
    TanhTransform,
    Transform,
    identity_transform,
)
from unspool.distributions.uniform import Uniform
from unspool.distributions.von_mises import VonMises
from unspool.distributions.weibull import Weibull
from unspool.distributions.wishart import Wishart

__all__ = [
    "AbsTransform",
    "AffineTransform",
    "Bernoulli",
    "Beta",
    "Binomial",
    "CatTransform",
    "Categorical",
    "Cauchy",
    "Chi2",
    "ComposeTransform",
    "ContinuousBernoulli",
    "CorrCholeskyTransform",
    "CumulativeDistributionTransform",
    "Dirichlet",
    "Distribution",
    "ExpTransform",
    "Exponential",
    "FisherSnedecor",
    "Gamma",
    "GeneralizedPareto",
    "Geometric",
    "Gumbel",
    "HalfCauchy",
    "HalfNormal",
    "Independent",
    "IndependentTransform",
    "InverseGamma",
    "Kumaraswamy",
    "LKJCholesky",
    "Laplace",
    "LogNormal",
    "LogisticNormal",
    "LowRankMultivariateNormal",
    "LowerCholeskyTransform",
    "MixtureSameFamily",
    "Multinomial",
    "MultivariateNormal",
    "NegativeBinomial",
    "Normal",
    "OneHotCategorical",
    "OneHotCategoricalStraightThrough",
    "Pareto",
    "Poisson",
    "PositiveDefiniteTransform",
    "PowerTransform",
    "RelaxedBernoulli",
    "RelaxedOneHotCategorical",
    "ReshapeTransform",
    "SigmoidTransform",
    "SoftmaxTransform",
    "SoftplusTransform",
    "StackTransform",
    "StickBreakingTransform",
    "StudentT",
    "TanhTransform",
    "Transform",
    "TransformedDistribution",
    "Uniform",
    "VonMises",
    "Weibull",
    "Wishart",
    "biject_to",
    "constraints",
    "identity_transform",
    "kl",
    "kl_divergence",
    "register_kl",
    "transform_to",
    "transforms",
]
