"""What distributions show: draws, densities, moments, supports, divergences, refusals."""

import torch
import torch.distributions as D
from torch.distributions import (
    Normal,
    Bernoulli,
    Categorical,
    Beta,
    Gamma,
    Dirichlet,
    Poisson,
    Exponential,
    Uniform,
    Laplace,
    StudentT,
    LogNormal,
    Binomial,
    Geometric,
    OneHotCategorical,
    MultivariateNormal,
    kl_divergence,
    Independent,
    MixtureSameFamily,
    Gumbel,
    HalfNormal,
    Cauchy,
    Chi2,
    RelaxedBernoulli,
    RelaxedOneHotCategorical,
    Multinomial,
)

t = torch.tensor


def show(d, v):
    torch.manual_seed(0)
    print(d)

    def tr(f):
        try:
            return f()
        except (NotImplementedError, AttributeError):
            return "NI"

    print(
        tr(lambda: d.sample()),
        tr(lambda: d.sample((3,))),
        d.log_prob(v),
        tr(lambda: d.entropy()),
        tr(lambda: d.mean),
        tr(lambda: d.variance),
        tr(lambda: d.stddev),
        d.batch_shape,
        d.event_shape,
        tr(lambda: d.mode),
        d.has_rsample,
    )


for d, v in [
    (Normal(t(0.0), t([1.0, 2.0])), t(0.5)),
    (Bernoulli(t([0.3, 0.6])), t(1.0)),
    (Bernoulli(logits=t(0.2)), t(0.0)),
    (Categorical(t([0.25, 0.25, 0.5])), t(2)),
    (Categorical(logits=torch.zeros(2, 3)), t(1)),
    (Exponential(t([1.0, 2.0])), t(0.5)),
    (Uniform(t(0.0), t(2.0)), t(1.0)),
    (Laplace(t(0.0), t(1.0)), t(0.5)),
    (Gumbel(t(0.0), t(1.0)), t(0.5)),
    (HalfNormal(t(1.0)), t(0.5)),
    (Cauchy(t(0.0), t(1.0)), t(0.5)),
    (LogNormal(t(0.0), t(1.0)), t(0.5)),
    (Geometric(t(0.3)), t(2.0)),
    (OneHotCategorical(t([0.2, 0.8])), t([0.0, 1.0])),
    (MultivariateNormal(torch.zeros(2), torch.eye(2)), torch.ones(2)),
    (Independent(Normal(torch.zeros(3), torch.ones(3)), 1), torch.ones(3)),
    (MixtureSameFamily(Categorical(torch.ones(2)), Normal(t([-1.0, 1.0]), t([1.0, 1.0]))), t(0.3)),
    (Poisson(t([2.0, 5.0])), t(3.0)),
    (Binomial(10, t(0.4)), t(3.0)),
    (Multinomial(5, t([0.2, 0.3, 0.5])), t([1.0, 2.0, 2.0])),
    (Beta(t(2.0), t([3.0, 0.5])), t(0.3)),
    (Gamma(t([2.0, 0.5]), t(1.0)), t(0.7)),
    (Dirichlet(t([1.0, 2.0, 3.0])), t([0.2, 0.3, 0.5])),
    (Chi2(t(3.0)), t(0.5)),
    (StudentT(t(4.0)), t(0.5)),
    (RelaxedBernoulli(t(0.5), t(0.3)), t(0.5)),
    (RelaxedOneHotCategorical(t(0.5), t([0.3, 0.7])), t([0.4, 0.6])),
]:
    show(d, v)
print(
    kl_divergence(Normal(0.0, 1.0), Normal(1.0, 2.0)),
    kl_divergence(Categorical(t([0.5, 0.5])), Categorical(t([0.1, 0.9]))),
    kl_divergence(Beta(t(1.0), t(2.0)), Beta(t(2.0), t(2.0))),
    kl_divergence(Gamma(t(1.0), t(2.0)), Gamma(t(2.0), t(2.0))),
    kl_divergence(Dirichlet(t([1.0, 2.0])), Dirichlet(t([2.0, 2.0]))),
    kl_divergence(Bernoulli(t(0.3)), Bernoulli(t(0.5))),
    kl_divergence(MultivariateNormal(torch.zeros(2), torch.eye(2)), MultivariateNormal(torch.ones(2), torch.eye(2))),
)
for f in [
    lambda: Normal(t(0.0), t(-1.0)),
    lambda: Categorical(t([-1.0, 2.0])),
    lambda: Normal(0.0, 1.0).log_prob(t(float("nan"))),
    lambda: Bernoulli(t(2.0)),
    lambda: Uniform(t(1.0), t(0.0)),
]:
    try:
        f()
    except ValueError as e:
        print(e)
g = torch.nn.functional.gumbel_softmax(torch.zeros(2, 3), tau=0.5, hard=True)
print(g, Normal(torch.zeros(2), 1).expand((3, 2)), Normal(0, 1).icdf(t(0.5)))
