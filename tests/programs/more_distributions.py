"""Draws, densities and moments of the rarer distributions."""

import torch
from torch.distributions import *
from torch.distributions import constraints, kl_divergence

torch.manual_seed(0)
T = torch.tensor
ds = {
    "NegBin": lambda: NegativeBinomial(T([5.0, 3.0]), probs=T([0.3, 0.6])),
    "HalfCauchy": lambda: HalfCauchy(T([1.0, 2.0])),
    "Pareto": lambda: Pareto(T([1.0, 1.5]), T([3.0, 4.0])),
    "Weibull": lambda: Weibull(T([1.0, 2.0]), T([1.5, 3.0])),
    "VonMises": lambda: VonMises(T([0.0, 1.0]), T([1.0, 4.0])),
    "InvGamma": lambda: InverseGamma(T([3.0, 4.0]), T([1.0, 2.0])),
    "Fisher": lambda: FisherSnedecor(T([5.0, 6.0]), T([7.0, 8.0])),
    "LogitNormal": lambda: LogisticNormal(T([0.0, 0.5]), T([1.0, 0.5])),
    "Kuma": lambda: Kumaraswamy(T([1.5, 2.0]), T([2.0, 4.0])),
    "CB": lambda: ContinuousBernoulli(T([0.2, 0.7])),
    "LowRank": lambda: LowRankMultivariateNormal(torch.zeros(3), torch.ones(3, 1), torch.ones(3)),
    "LKJ": lambda: LKJCholesky(3, 1.5),
    "Wishart": lambda: Wishart(T([5.0]), covariance_matrix=torch.eye(2)),
    "Gamma": lambda: Gamma(T([2.0, 3.0]), T([1.0, 2.0])),
    "StudentT": lambda: StudentT(T([4.0, 5.0])),
    "Beta": lambda: Beta(T([2.0, 0.5]), T([1.0, 0.7])),
    "GPareto": lambda: GeneralizedPareto(T(0.0), T(1.0), T(0.2)),
    "Gumbel": lambda: Gumbel(T([0.0]), T([1.0])),
    "Chi2": lambda: Chi2(T([3.0])),
}
for n, f in ds.items():
    try:
        torch.manual_seed(4)
        d = f()
        s = d.sample((2,))
        print(n, s, d.log_prob(s))
        for a in ("mean", "variance", "mode", "stddev"):
            try:
                print(a, getattr(d, a))
            except NotImplementedError:
                print(a, "none")
        try:
            print("H", d.entropy())
        except NotImplementedError:
            print("H none")
        try:
            print("cdf", d.cdf(s))
        except NotImplementedError:
            print("cdf none")
        try:
            print(d, d.support, d.batch_shape, d.event_shape, d.expand((3, 2)).batch_shape if d.batch_shape else "")
        except Exception as e:
            print(type(e).__name__)
    except (NameError,) as e:
        print(n, type(e).__name__)
print(
    kl_divergence(Pareto(T(1.0), T(2.0)), Pareto(T(0.5), T(3.0))),
    kl_divergence(Gamma(T(2.0), T(1.0)), Gamma(T(3.0), T(2.0))),
    kl_divergence(Beta(T(2.0), T(1.0)), Beta(T(3.0), T(2.0))),
    kl_divergence(Dirichlet(T([1.0, 2.0])), Dirichlet(T([2.0, 2.0]))),
    kl_divergence(Bernoulli(0.3), Bernoulli(0.4)),
    kl_divergence(Uniform(0.0, 1.0), Normal(0.0, 1.0)),
)
try:
    Normal(T(0.0), T(-1.0))
except ValueError as e:
    print(str(e)[:80])
try:
    kl_divergence(Normal(0.0, 1.0), Categorical(T([0.5, 0.5])))
except NotImplementedError as e:
    print(e)
print(
    Gamma(2.0, 1.0).cdf(T([0.5, 1.0, 3.0])),
    torch.special.gammainc(T([1.0, 2.0]), T([0.5, 2.0])),
    torch.igammac(T([1.0, 2.0]), T([0.5, 2.0])),
)
