"""Distributions beside PyTorch's: draws of the same stream, densities, moments, divergences, checks, printed forms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import unspool
from unspool.distributions import Distribution

torch = pytest.importorskip("torch", reason="PyTorch is the reference")

_Make = Callable[[Any], Any]
_MAKERS: dict[str, _Make] = {
    "normal": lambda t: t.distributions.Normal(t.tensor([0.5, -1.0]), t.tensor([[1.0], [2.5]])),
    "normal of numbers": lambda t: t.distributions.Normal(1.0, 2.0),
    "uniform": lambda t: t.distributions.Uniform(t.tensor([0.0, -1.0]), 3.0),
    "exponential": lambda t: t.distributions.Exponential(t.tensor([0.5, 3.0])),
    "laplace": lambda t: t.distributions.Laplace(t.tensor([0.0, 2.0]), t.tensor([1.0, 0.3])),
    "bernoulli": lambda t: t.distributions.Bernoulli(t.tensor([0.1, 0.5, 1.0])),
    "bernoulli by logits": lambda t: t.distributions.Bernoulli(logits=t.tensor([[0.3], [-2.0]])),
    "categorical": lambda t: t.distributions.Categorical(t.tensor([[1.0, 2.0, 3.0, 0.0], [1.0, 1.0, 1.0, 1.0]])),
    "categorical by logits": lambda t: t.distributions.Categorical(logits=t.tensor([0.0, 1.5, -2.0])),
    "independent": lambda t: t.distributions.Independent(
        t.distributions.Normal(t.zeros(3, 2), t.tensor([1.0, 0.5])), 1
    ),
    "mixture": lambda t: t.distributions.MixtureSameFamily(
        t.distributions.Categorical(t.tensor([0.2, 0.8])), t.distributions.Normal(t.tensor([-1.0, 3.0]), 1.0)
    ),
    "mixture of vectors": lambda t: t.distributions.MixtureSameFamily(
        t.distributions.Categorical(t.ones(3, 2)),
        t.distributions.Independent(t.distributions.Normal(t.arange(12.0).reshape(3, 2, 2), 0.5), 1),
    ),
    "multivariate": lambda t: t.distributions.MultivariateNormal(
        t.tensor([1.0, -1.0]), t.tensor([[2.0, 0.3], [0.3, 0.5]])
    ),
    "multivariate by root": lambda t: t.distributions.MultivariateNormal(
        t.zeros(4, 2), scale_tril=t.tensor([[1.0, 0.0], [0.7, 0.2]])
    ),
    "multivariate by precision": lambda t: t.distributions.MultivariateNormal(
        t.zeros(2), precision_matrix=t.tensor([[2.0, 0.3], [0.3, 0.5]])
    ),
    "log-normal": lambda t: t.distributions.LogNormal(t.tensor([0.5, -1.0]), t.tensor([[1.0], [0.5]])),
    "half-normal": lambda t: t.distributions.HalfNormal(t.tensor([0.5, 2.0])),
    "gumbel": lambda t: t.distributions.Gumbel(t.tensor([0.5, -1.0]), t.tensor([[1.0], [2.5]])),
    "cauchy": lambda t: t.distributions.Cauchy(t.tensor([0.5, -1.0]), 2.0),
    "gamma": lambda t: t.distributions.Gamma(t.tensor([0.3, 1.0, 7.5]), t.tensor([[1.0], [2.5]])),
    "gamma in float64": lambda t: t.distributions.Gamma(t.tensor([0.3, 7.5], dtype=t.float64), 2.0),
    "chi2": lambda t: t.distributions.Chi2(t.tensor([0.5, 3.0])),
    "student": lambda t: t.distributions.StudentT(t.tensor([0.5, 1.5, 4.0]), 1.0, t.tensor([[1.0], [2.5]])),
    "beta": lambda t: t.distributions.Beta(t.tensor([0.5, 2.0, 0.3]), t.tensor([3.0, 2.0, 0.4])),
    "dirichlet": lambda t: t.distributions.Dirichlet(t.tensor([[0.5, 2.0, 1.5], [0.2, 0.1, 0.3]])),
    "poisson": lambda t: t.distributions.Poisson(t.tensor([0.5, 9.5, 30.0])),
    "geometric": lambda t: t.distributions.Geometric(t.tensor([0.1, 0.5, 1.0])),
    "geometric by logits": lambda t: t.distributions.Geometric(logits=t.tensor([-1.0, 0.5])),
    "binomial": lambda t: t.distributions.Binomial(t.tensor(12.0), t.tensor([0.1, 0.5, 0.9])),
    "binomial of many": lambda t: t.distributions.Binomial(80, t.tensor([0.0, 0.3, 0.8, 1.0])),
    "binomial by logits": lambda t: t.distributions.Binomial(5, logits=t.tensor([[-1.0], [2.0]])),
    "multinomial": lambda t: t.distributions.Multinomial(6, t.tensor([[1.0, 2.0, 3.0], [1.0, 0.0, 1.0]])),
    "one-hot": lambda t: t.distributions.OneHotCategorical(t.tensor([[1.0, 2.0, 3.0], [1.0, 0.0, 1.0]])),
    "one-hot, straight through": lambda t: t.distributions.OneHotCategoricalStraightThrough(logits=t.zeros(2, 3)),
    "relaxed one-hot": lambda t: t.distributions.RelaxedOneHotCategorical(
        t.tensor(0.7), t.tensor([[1.0, 2.0, 3.0], [1.0, 1.0, 2.0]])
    ),
    "relaxed bernoulli": lambda t: t.distributions.RelaxedBernoulli(t.tensor(0.7), t.tensor([0.3, 0.9])),
    "squashed": lambda t: t.distributions.TransformedDistribution(
        t.distributions.Independent(t.distributions.Normal(t.zeros(4, 2), t.tensor([1.0, 0.5])), 1),
        [t.distributions.TanhTransform(cache_size=1), t.distributions.AffineTransform(1.0, t.tensor([2.0, -3.0]))],
    ),
    "stick breaking": lambda t: t.distributions.TransformedDistribution(
        t.distributions.Normal(t.zeros(3), 1.0), t.distributions.StickBreakingTransform()
    ),
    "half-cauchy": lambda t: t.distributions.HalfCauchy(t.tensor([0.5, 2.0])),
    "pareto": lambda t: t.distributions.Pareto(t.tensor([1.0, 1.5]), t.tensor([[3.0], [4.0]])),
    "generalised pareto": lambda t: t.distributions.GeneralizedPareto(0.0, 1.0, t.tensor([0.2, -0.3, 0.0])),
    "weibull": lambda t: t.distributions.Weibull(t.tensor([1.0, 2.0]), t.tensor([1.5, 3.0])),
    "von mises": lambda t: t.distributions.VonMises(t.tensor([0.0, 1.0]), t.tensor([[1.0], [6.0]])),
    "inverse gamma": lambda t: t.distributions.InverseGamma(t.tensor([3.0, 4.0]), t.tensor([1.0, 2.0])),
    "F": lambda t: t.distributions.FisherSnedecor(t.tensor([5.0, 6.0]), t.tensor([7.0, 8.0])),
    "kumaraswamy": lambda t: t.distributions.Kumaraswamy(t.tensor([1.0, 2.0]), t.tensor([2.0, 3.0])),
    "logistic-normal": lambda t: t.distributions.LogisticNormal(t.tensor([0.0, 0.5]), t.tensor([1.0, 0.5])),
    "negative binomial": lambda t: t.distributions.NegativeBinomial(t.tensor([5.0, 3.0]), t.tensor([0.3, 0.6])),
    "continuous bernoulli": lambda t: t.distributions.ContinuousBernoulli(t.tensor([0.2, 0.5, 0.7])),
    "low rank": lambda t: t.distributions.LowRankMultivariateNormal(
        t.zeros(3), t.tensor([[1.0], [0.5], [-1.0]]), t.tensor([1.0, 0.5, 2.0])
    ),
    "correlations": lambda t: t.distributions.LKJCholesky(3, t.tensor([0.7, 1.5])),
    "wishart": lambda t: t.distributions.Wishart(t.tensor([5.0]), t.tensor([[1.0, 0.3], [0.3, 0.5]])),
}
_TRANSFORMED = {
    "squashed", "stick breaking", "relaxed one-hot", "relaxed bernoulli", "logistic-normal", "correlations",
}  # fmt: skip
# PyTorch raises there
_WITHOUT_ENTROPY = _TRANSFORMED | {"mixture", "mixture of vectors", "poisson", "von mises", "F", "negative binomial"}
_WITHOUT_MODE = _TRANSFORMED | {"mixture", "mixture of vectors", "multinomial", "continuous bernoulli"}


def _close(ours: Any, theirs: Any) -> None:
    assert tuple(ours.shape) == tuple(theirs.shape)
    assert str(ours.dtype) == str(theirs.dtype)
    np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=2e-5, atol=2e-6)


@pytest.mark.filterwarnings("ignore:Singular sample")  # PyTorch's, of every draw of a Wishart distribution
@pytest.mark.parametrize("name", list(_MAKERS))
def test_agrees_with_pytorch(name: str) -> None:
    ours, theirs = _MAKERS[name](unspool), _MAKERS[name](torch)
    assert repr(ours) == repr(theirs)
    assert (tuple(ours.batch_shape), tuple(ours.event_shape)) == (tuple(theirs.batch_shape), tuple(theirs.event_shape))
    for shape in ((), (7,), (2, 3)):
        unspool.manual_seed(5)
        torch.manual_seed(5)
        drawn, expected = ours.sample(shape), theirs.sample(shape)
        _close(drawn, expected)
        _close(ours.log_prob(unspool.tensor(expected.numpy())), theirs.log_prob(expected))
        assert unspool.rand(1).item() == torch.rand(1).item()  # the streams moved alike
    assert ours.has_rsample == theirs.has_rsample
    assert repr(ours) == repr(theirs)  # what was computed on the way may show
    for what in () if name in _TRANSFORMED else ("mean", "variance", "stddev"):
        _close(getattr(ours, what), getattr(theirs, what))
    if name not in _WITHOUT_MODE:
        _close(ours.mode, theirs.mode)
    if name not in _WITHOUT_ENTROPY:
        _close(ours.entropy(), theirs.entropy())
        _close(ours.perplexity(), theirs.perplexity())
    wide = (5, *theirs.batch_shape)
    if name not in _TRANSFORMED:
        _close(ours.expand(wide).mean, theirs.expand(wide).mean)
    assert repr(ours.support) == repr(theirs.support) or name.startswith("mixture")
    assert tuple(ours.expand(wide).sample((2,)).shape) == tuple(theirs.expand(wide).sample((2,)).shape)


@pytest.mark.parametrize(
    "name",
    [
        "normal", "uniform", "exponential", "laplace", "log-normal", "half-normal", "gumbel", "cauchy", "half-cauchy",
        "weibull", "kumaraswamy",
    ],
)  # fmt: skip
def test_cdf_and_its_inverse(name: str) -> None:
    ours, theirs = _MAKERS[name](unspool), _MAKERS[name](torch)
    x = np.array([0.1, 0.9], np.float32)
    _close(ours.cdf(unspool.tensor(x)), theirs.cdf(torch.tensor(x)))
    _close(ours.icdf(unspool.tensor(x)), theirs.icdf(torch.tensor(x)))


@pytest.mark.parametrize("name", ["gamma", "chi2", "inverse gamma"])
def test_cdf(name: str) -> None:
    ours, theirs = _MAKERS[name](unspool), _MAKERS[name](torch)
    for x in (1e-3, 0.4, 1.0, 6.0, 50.0):
        _close(ours.cdf(unspool.tensor(x)), theirs.cdf(torch.tensor(x)))


def test_constraints_have_transforms() -> None:
    def texts(t: Any) -> list[Any]:
        d, c = t.distributions, t.distributions.constraints
        kinds = [
            c.real, c.positive, c.nonnegative, c.unit_interval, c.simplex, c.lower_cholesky, c.positive_definite,
            c.corr_cholesky, c.real_vector, c.greater_than(2.0), c.less_than(3.0), c.interval(1.0, 3.0),
            c.half_open_interval(0.0, 2.0), c.stack([c.real, c.positive]), c.cat([c.real, c.positive], -1, [1, 2]),
            c.boolean,
        ]  # fmt: skip
        found: list[Any] = []
        for kind in kinds:
            for registry in (d.transform_to, d.biject_to):
                try:
                    found.append(repr(registry(kind)))
                except NotImplementedError:
                    found.append(None)
        x = t.tensor([[0.3, -1.0, 0.5], [2.0, 0.1, -0.7]])
        values = [d.transform_to(c.interval(1.0, 3.0))(x), d.biject_to(c.cat([c.real, c.positive], -1, [1, 2]))(x)]
        return [*found, *(np.round(v.numpy(), 5).tolist() for v in values)]

    assert texts(unspool) == texts(torch)


@pytest.mark.parametrize("name", ["bernoulli", "categorical", "one-hot", "binomial"])
@pytest.mark.parametrize("expand", [True, False])
def test_all_values(name: str, expand: bool) -> None:
    _close(_MAKERS[name](unspool).enumerate_support(expand), _MAKERS[name](torch).enumerate_support(expand))


_PAIRS: dict[str, tuple[_Make, _Make]] = {
    "normal": (_MAKERS["normal"], _MAKERS["normal of numbers"]),
    "bernoulli": (_MAKERS["bernoulli"], lambda t: t.distributions.Bernoulli(t.tensor([0.3, 0.2, 0.5]))),
    "categorical": (_MAKERS["categorical"], lambda t: t.distributions.Categorical(t.tensor([1.0, 1.0, 0.0, 2.0]))),
    "uniform": (_MAKERS["uniform"], lambda t: t.distributions.Uniform(-0.5, 4.0)),
    "exponential": (_MAKERS["exponential"], lambda t: t.distributions.Exponential(2.0)),
    "laplace": (_MAKERS["laplace"], lambda t: t.distributions.Laplace(1.0, 2.0)),
    "multivariate": (_MAKERS["multivariate"], _MAKERS["multivariate by precision"]),
    "beta": (_MAKERS["beta"], lambda t: t.distributions.Beta(2.0, t.tensor([1.0, 0.5, 3.0]))),
    "dirichlet": (_MAKERS["dirichlet"], lambda t: t.distributions.Dirichlet(t.tensor([1.0, 2.0, 3.0]))),
    "gamma": (_MAKERS["gamma"], lambda t: t.distributions.Gamma(2.0, 0.5)),
    "poisson": (_MAKERS["poisson"], lambda t: t.distributions.Poisson(2.0)),
    "geometric": (_MAKERS["geometric"], lambda t: t.distributions.Geometric(0.25)),
    "binomial": (_MAKERS["binomial"], lambda t: t.distributions.Binomial(t.tensor(12.0), t.tensor(0.25))),
    "half-normal": (_MAKERS["half-normal"], lambda t: t.distributions.HalfNormal(1.5)),
    "one-hot": (_MAKERS["one-hot"], lambda t: t.distributions.OneHotCategorical(t.tensor([0.2, 0.5, 0.3]))),
    "log-normal": (_MAKERS["log-normal"], lambda t: t.distributions.LogNormal(0.0, 2.0)),
    "pareto": (_MAKERS["pareto"], lambda t: t.distributions.Pareto(0.5, t.tensor([2.0, 3.0]))),
    "gumbel": (_MAKERS["gumbel"], lambda t: t.distributions.Gumbel(1.0, 2.0)),
    "cauchy": (_MAKERS["cauchy"], lambda t: t.distributions.Cauchy(1.0, 0.5)),
    "half-cauchy": (_MAKERS["half-cauchy"], lambda t: t.distributions.HalfCauchy(1.5)),
    "continuous bernoulli": (_MAKERS["continuous bernoulli"], lambda t: t.distributions.ContinuousBernoulli(0.4)),
    "uniform and normal": (_MAKERS["uniform"], lambda t: t.distributions.Normal(0.5, t.tensor([1.0, 2.0]))),
    "normal and laplace": (_MAKERS["normal"], _MAKERS["laplace"]),
    "exponential and gamma": (_MAKERS["exponential"], lambda t: t.distributions.Gamma(2.0, 0.5)),
    "gamma and exponential": (_MAKERS["gamma"], lambda t: t.distributions.Exponential(0.7)),
    "beta and normal": (_MAKERS["beta"], _MAKERS["normal of numbers"]),
    "low rank": (
        _MAKERS["low rank"],
        lambda t: t.distributions.LowRankMultivariateNormal(t.ones(3), t.ones(3, 2), t.ones(3)),
    ),
    "low rank and full": (_MAKERS["low rank"], lambda t: t.distributions.MultivariateNormal(t.ones(3), t.eye(3))),
    "independent": (
        _MAKERS["independent"],
        lambda t: t.distributions.Independent(t.distributions.Normal(t.ones(3, 2), 2.0), 1),
    ),
}


@pytest.mark.parametrize("name", list(_PAIRS))
def test_divergences(name: str) -> None:
    p, q = _PAIRS[name]
    _close(
        unspool.distributions.kl_divergence(p(unspool), q(unspool)),
        torch.distributions.kl_divergence(p(torch), q(torch)),
    )


def test_a_divergence_without_formula_is_an_error() -> None:
    d = unspool.distributions
    with pytest.raises(NotImplementedError, match="p type Normal and q type Uniform"):
        d.kl_divergence(d.Normal(0.0, 1.0), d.Uniform(0.0, 1.0))


@pytest.mark.parametrize(
    "name",
    [
        "normal", "uniform", "exponential", "laplace", "multivariate", "log-normal", "gumbel", "cauchy", "half-normal",
        "gamma", "student", "squashed", "relaxed",
    ],
)  # fmt: skip
def test_draws_and_densities_have_gradients(name: str) -> None:
    def slopes(t: Any) -> list[np.ndarray]:
        a = t.tensor([0.6, 1.2], requires_grad=True)
        b = t.tensor([1.5, 2.0], requires_grad=True)
        d = t.distributions
        made = {
            "normal": lambda: d.Normal(a, b),
            "uniform": lambda: d.Uniform(-a, b),
            "exponential": lambda: d.Exponential(a * b),
            "laplace": lambda: d.Laplace(a, b),
            "multivariate": lambda: d.MultivariateNormal(a, t.diag(b)),
            "log-normal": lambda: d.LogNormal(a, b),
            "gumbel": lambda: d.Gumbel(a, b),
            "cauchy": lambda: d.Cauchy(a, b),
            "half-normal": lambda: d.HalfNormal(a * b),
            "gamma": lambda: d.Gamma(1.5, a * b),
            "student": lambda: d.StudentT(2.5, a, b),
            "squashed": lambda: d.TransformedDistribution(d.Normal(a, b), [d.TanhTransform(), d.AffineTransform(1, a)]),
            "relaxed": lambda: d.RelaxedOneHotCategorical(t.tensor(0.7), logits=a * b),
        }[name]()
        t.manual_seed(1)
        drawn = made.rsample((4,))
        entropy = 0.0 if name in ("squashed", "relaxed") else made.entropy().sum()
        (drawn.square().sum() + made.log_prob(drawn.detach()).sum() + entropy).backward()
        return [a.grad.numpy(), b.grad.numpy()]

    for ours, theirs in zip(slopes(unspool), slopes(torch), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4)


@pytest.mark.parametrize("name", ["gamma", "beta", "dirichlet", "student"])
def test_draws_by_rejection_are_no_function_of_the_concentration(name: str) -> None:
    a = unspool.tensor([0.6, 1.2], requires_grad=True)
    d = unspool.distributions
    made = {
        "gamma": lambda: d.Gamma(a, 1.0),
        "beta": lambda: d.Beta(a, 1.0),
        "dirichlet": lambda: d.Dirichlet(a),
        "student": lambda: d.StudentT(a),
    }[name]()
    with pytest.raises(NotImplementedError, match="use sample"):
        made.rsample()
    made.log_prob(made.sample()).sum().backward()
    assert a.grad.isfinite().all()


def test_counts_draw_pytorch_s_numbers() -> None:
    def drawn(t: Any) -> list[Any]:
        t.manual_seed(3)
        rates = t.rand(60) * 30
        counts, probs = (t.rand(60) * 90).floor(), t.rand(60)
        g = t.Generator().manual_seed(1)
        return [
            t.poisson(rates).tolist(),
            t.poisson(rates.double(), generator=g).tolist(),
            t.binomial(counts, probs).tolist(),
            t.binomial(counts.double(), probs.double(), generator=g).tolist(),
            t.rand(1).item(),
        ]

    assert drawn(unspool) == drawn(torch)


@pytest.mark.parametrize(
    "call",
    [
        lambda t: t.poisson(t.tensor([-1.0])),
        lambda t: t.binomial(t.tensor([1]), t.tensor([1])),
        lambda t: t.binomial(t.tensor([1.0]), t.tensor([1.0], dtype=t.float64)),
    ],
)
def test_counts_that_can_not_be_drawn(call: _Make) -> None:
    with pytest.raises((ValueError, RuntimeError)) as theirs:
        call(torch)
    with pytest.raises(theirs.type):
        call(unspool)


_TRANSFORMS: dict[str, _Make] = {
    "exp": lambda d: d.ExpTransform(),
    "inverse of exp": lambda d: d.ExpTransform().inv,
    "power": lambda d: d.PowerTransform(2.0),
    "sigmoid": lambda d: d.SigmoidTransform(),
    "softplus": lambda d: d.SoftplusTransform(),
    "tanh": lambda d: d.TanhTransform(),
    "abs": lambda d: d.AbsTransform(),
    "affine": lambda d: d.AffineTransform(1.0, -2.0),
    "affine of vectors": lambda d: d.AffineTransform(1.0, 3.0, event_dim=1),
    "softmax": lambda d: d.transforms.SoftmaxTransform(),
    "stick breaking": lambda d: d.StickBreakingTransform(),
    "reshape": lambda d: d.ReshapeTransform((3,), (3, 1)),
    "independent": lambda d: d.transforms.IndependentTransform(d.ExpTransform(), 1),
    "composed": lambda d: d.ComposeTransform([d.AffineTransform(0.0, 2.0, 1), d.SigmoidTransform(), d.ExpTransform()]),
    "composed, inverse": lambda d: d.ComposeTransform([d.ExpTransform(), d.TanhTransform()]).inv,
    "none": lambda d: d.identity_transform,
    "correlations": lambda d: d.CorrCholeskyTransform(),
    "cat": lambda d: d.CatTransform([d.ExpTransform(), d.AffineTransform(1.0, 2.0)], -1, [1, 2]),
    "stack": lambda d: d.StackTransform([d.ExpTransform(), d.AffineTransform(1.0, 2.0)], 0),
    "cdf": lambda d: d.CumulativeDistributionTransform(d.Normal(0.5, 2.0)),
}


@pytest.mark.parametrize("name", list(_TRANSFORMS))
def test_transforms(name: str) -> None:
    x = np.array([[0.2, 0.5, 0.4], [0.9, 0.3, 0.05]], np.float32)
    seen = []
    for t in (unspool, torch):
        f = _TRANSFORMS[name](t.distributions)
        y = f(t.tensor(x))
        results = [y, f.inv(y)]
        if name not in ("abs", "softmax"):
            results.append(f.log_abs_det_jacobian(t.tensor(x), y))
            results.append(f.inv.log_abs_det_jacobian(y, t.tensor(x)))
        shapes = [tuple(f.forward_shape(x.shape)), tuple(f.inverse_shape(y.shape))]
        texts = [repr(f), repr(f.domain), repr(f.codomain), f.bijective]
        if name not in ("abs", "softmax", "stick breaking", "reshape", "correlations", "cat", "stack"):
            texts.append(str(f.sign))
        texts.append(f == _TRANSFORMS[name](t.distributions))
        seen.append((results, shapes, texts))
    for ours, theirs in zip(seen[0][0], seen[1][0], strict=True):
        _close(ours, theirs)
    assert seen[0][1:] == seen[1][1:]


def test_a_cached_transform_gives_back_what_it_was_given() -> None:
    f = unspool.distributions.TanhTransform(cache_size=1)
    x = unspool.tensor([30.0])
    assert f.inv(f(x)) is x
    assert f.with_cache(0).inv(f(x)).item() == float("inf")


_BAD: list[tuple[str, _Make]] = [
    ("rate", lambda t: t.distributions.Poisson(t.tensor([-1.0]))),
    ("count", lambda t: t.distributions.Poisson(1.0).log_prob(t.tensor(0.5))),
    ("one-hot", lambda t: t.distributions.OneHotCategorical(t.ones(2)).log_prob(t.tensor([1.0, 1.0]))),
    ("successes", lambda t: t.distributions.Binomial(3, t.tensor(0.5)).log_prob(t.tensor(4.0))),
    ("counts", lambda t: t.distributions.Multinomial(3, t.ones(2)).log_prob(t.tensor([2.0, 2.0]))),
    ("impossible", lambda t: t.distributions.Geometric(t.tensor([0.0, 0.5]))),
    ("concentration", lambda t: t.distributions.Dirichlet(t.tensor(1.0))),
    ("concentrations", lambda t: t.distributions.Beta(t.tensor([1.0, -1.0]), 2.0)),
    ("transforms", lambda t: t.distributions.TransformedDistribution(t.distributions.Normal(0.0, 1.0), 3)),
    ("a transform", lambda t: t.distributions.TransformedDistribution(t.distributions.Normal(0.0, 1.0), [3])),
    ("cache", lambda t: t.distributions.ExpTransform(cache_size=2)),
    ("shapes", lambda t: t.distributions.ReshapeTransform((3,), (4,))),
    ("scale", lambda t: t.distributions.Normal(t.zeros(2), t.tensor([1.0, -1.0]))),
    ("nan", lambda t: t.distributions.Normal(float("nan"), 1.0)),
    ("probability", lambda t: t.distributions.Bernoulli(t.tensor([0.5, 1.5]))),
    ("simplex", lambda t: t.distributions.Categorical(t.tensor([0.5, -0.1]))),
    ("logits", lambda t: t.distributions.Categorical(logits=t.tensor([0.5, float("nan")]))),
    ("empty interval", lambda t: t.distributions.Uniform(1.0, t.tensor([0.5, 2.0]))),
    ("covariance", lambda t: t.distributions.MultivariateNormal(t.zeros(2), -t.eye(2))),
    ("root", lambda t: t.distributions.MultivariateNormal(t.zeros(2), scale_tril=t.ones(2, 2))),
    ("both", lambda t: t.distributions.Bernoulli(0.5, 0.5)),
    ("neither", lambda t: t.distributions.Categorical()),
    ("value", lambda t: t.distributions.Bernoulli(0.5).log_prob(t.tensor(0.5))),
    ("class", lambda t: t.distributions.Categorical(t.ones(3)).log_prob(t.tensor([1, 3]))),
    ("no tensor", lambda t: t.distributions.Normal(0.0, 1.0).log_prob(0.5)),
    ("event shape", lambda t: t.distributions.MultivariateNormal(t.zeros(2), t.eye(2)).log_prob(t.zeros(3))),
    ("batch shape", lambda t: t.distributions.Normal(t.zeros(2), 1.0).log_prob(t.zeros(3))),
]


@pytest.mark.parametrize(("name", "make"), _BAD, ids=[name for name, _ in _BAD])
def test_refusals_read_as_pytorch_s(name: str, make: _Make) -> None:
    with pytest.raises(ValueError) as theirs:  # noqa: PT011 - the text is compared
        make(torch)
    with pytest.raises(ValueError) as ours:  # noqa: PT011
        make(unspool)
    assert str(ours.value) == str(theirs.value)


def test_checks_can_be_left_out() -> None:
    bad = unspool.distributions.Normal(0.0, -1.0, validate_args=False)
    assert bad.log_prob(unspool.tensor(0.0)).isnan().item()


def test_a_divergence_can_be_added() -> None:
    class Point(Distribution):
        pass

    @unspool.distributions.register_kl(Point, Distribution)
    def formula(p: Any, q: Any) -> Any:
        return -q.log_prob(unspool.zeros(()))

    got = unspool.distributions.kl_divergence(Point(), unspool.distributions.Normal(0.0, 1.0))
    assert got.item() == pytest.approx(0.5 * np.log(2 * np.pi))
