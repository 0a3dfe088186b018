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
}


def _close(ours: Any, theirs: Any) -> None:
    assert tuple(ours.shape) == tuple(theirs.shape)
    assert str(ours.dtype) == str(theirs.dtype)
    np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=2e-5, atol=2e-6)


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
    for what in ("mean", "variance", "stddev", "mode"):
        if not name.startswith("mixture") or what != "mode":
            _close(getattr(ours, what), getattr(theirs, what))
    if not name.startswith("mixture"):
        _close(ours.entropy(), theirs.entropy())
        _close(ours.perplexity(), theirs.perplexity())
    wide = (5, *theirs.batch_shape)
    _close(ours.expand(wide).mean, theirs.expand(wide).mean)
    assert tuple(ours.expand(wide).sample((2,)).shape) == tuple(theirs.expand(wide).sample((2,)).shape)


@pytest.mark.parametrize("name", ["normal", "uniform", "exponential", "laplace"])
def test_cdf_and_its_inverse(name: str) -> None:
    ours, theirs = _MAKERS[name](unspool), _MAKERS[name](torch)
    x = np.array([0.1, 0.9], np.float32)
    _close(ours.cdf(unspool.tensor(x)), theirs.cdf(torch.tensor(x)))
    if name != "normal":
        _close(ours.icdf(unspool.tensor(x)), theirs.icdf(torch.tensor(x)))


@pytest.mark.parametrize("name", ["bernoulli", "categorical"])
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


@pytest.mark.parametrize("name", ["normal", "uniform", "exponential", "laplace", "multivariate"])
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
        }[name]()
        t.manual_seed(1)
        drawn = made.rsample((4,))
        (drawn.square().sum() + made.log_prob(drawn.detach()).sum() + made.entropy().sum()).backward()
        return [a.grad.numpy(), b.grad.numpy()]

    for ours, theirs in zip(slopes(unspool), slopes(torch), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4)


_BAD: list[tuple[str, _Make]] = [
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
