"""A Gaussian process fitted by LBFGS, and what linear algebra says of its kernel."""

import math
import torch

torch.manual_seed(0)
torch.set_default_dtype(torch.float64)
X = torch.linspace(0, 1, 20).unsqueeze(-1)
y = torch.sin(X * 2 * math.pi).squeeze() + torch.randn(20) * 0.1
raw = torch.nn.ParameterDict(
    {
        "ls": torch.nn.Parameter(torch.tensor(0.0)),
        "os": torch.nn.Parameter(torch.tensor(0.0)),
        "noise": torch.nn.Parameter(torch.tensor(-2.0)),
    }
)


def k(a, b):
    return raw["os"].exp() * torch.exp(-0.5 * torch.cdist(a / raw["ls"].exp(), b / raw["ls"].exp()).pow(2))


def nll():
    K = k(X, X) + (raw["noise"].exp()) * torch.eye(20)
    L = torch.linalg.cholesky(K)
    a = torch.cholesky_solve(y.unsqueeze(-1), L)
    return 0.5 * (y @ a.squeeze()) + L.diagonal().log().sum() + 10 * math.log(2 * math.pi)


opt = torch.optim.LBFGS(raw.parameters(), lr=0.5, max_iter=10, line_search_fn="strong_wolfe")


def closure():
    opt.zero_grad()
    l = nll()
    l.backward()
    return l


for i in range(3):
    print(f"{opt.step(closure).item():.4f}")
print({n: round(p.item(), 3) for n, p in raw.items()})
with torch.no_grad():
    Xs = torch.tensor([[0.1], [0.55], [1.2]])
    K = k(X, X) + raw["noise"].exp() * torch.eye(20)
    Ks = k(Xs, X)
    L = torch.linalg.cholesky(K)
    v = torch.linalg.solve_triangular(L, Ks.T, upper=False)
    mu = Ks @ torch.linalg.solve(K, y)
    var = (k(Xs, Xs) - v.T @ v).diagonal()
    print(mu, var)
    s = torch.distributions.MultivariateNormal(mu, covariance_matrix=torch.diag(var + 1e-6)).sample((3,))
    print(s)
    print(
        torch.logdet(K),
        torch.linalg.slogdet(K),
        torch.trace(torch.linalg.inv(K)),
        torch.linalg.cond(K).log10(),
        torch.linalg.eigvalsh(K)[-3:],
        torch.linalg.matrix_rank(K),
    )
    U, S, Vh = torch.linalg.svd(Ks, full_matrices=False)
    print(S, torch.dist(U @ torch.diag(S) @ Vh, Ks) < 1e-10)
    print(
        torch.linalg.lstsq(X, y.unsqueeze(1)).solution,
        torch.linalg.pinv(X).shape,
        torch.linalg.norm(K),
        torch.linalg.matrix_exp(0.1 * K[:2, :2]),
    )
    print(torch.pca_lowrank(K, q=2, center=True)[1])
