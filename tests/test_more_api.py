"""What programs reach for beside layers and operations: LBFGS, orthogonal weights, weighted samplers, lazy layers,
views in place and of another dtype, factorisations; each beside PyTorch."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import unspool
import unspool.utils.data

torch = pytest.importorskip("torch", reason="PyTorch is the reference")
BOTH = (unspool, torch)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"lr": 0.5, "max_iter": 7},
        {"line_search_fn": "strong_wolfe"},
        {"line_search_fn": "strong_wolfe", "lr": 0.05, "history_size": 3, "max_iter": 30},
        {"line_search_fn": "strong_wolfe", "lr": 30.0, "max_iter": 9, "tolerance_change": 1e-4},
        {"lr": 0.1, "max_iter": 4, "max_eval": 3},
    ],
)
@pytest.mark.filterwarnings("ignore:Converting a tensor")  # of PyTorch's own
def test_lbfgs(settings: dict[str, Any]) -> None:
    seen = []
    for m in BOTH:
        m.manual_seed(0)
        x = m.tensor(np.linspace(-1, 1, 24).reshape(12, 2), dtype=m.float64)
        y = m.sin(3 * x.sum(1, keepdim=True)) + x[:, :1] ** 2
        model = m.nn.Sequential(m.nn.Linear(2, 6), m.nn.Tanh(), m.nn.Linear(6, 1)).double()
        optimizer = m.optim.LBFGS(model.parameters(), **settings)
        calls = 0

        def closure(m: Any = m, model: Any = model, optimizer: Any = optimizer, x: Any = x, y: Any = y) -> Any:
            nonlocal calls
            calls += 1
            optimizer.zero_grad()
            loss = m.nn.functional.mse_loss(model(x), y)
            loss.backward()
            return loss

        losses = [optimizer.step(closure).item() for _ in range(4)]
        state = optimizer.state_dict()["state"][0]
        values = np.concatenate([p.detach().numpy().reshape(-1) for p in model.parameters()])
        seen.append((losses, values, calls, state["n_iter"], state["func_evals"], len(state["old_dirs"])))
    assert seen[0][2:] == seen[1][2:]
    np.testing.assert_allclose(seen[0][0], seen[1][0], rtol=1e-7)
    np.testing.assert_allclose(seen[0][1], seen[1][1], rtol=1e-5, atol=1e-8)


def test_lbfgs_goes_on_from_its_state() -> None:
    w = unspool.tensor([3.0, -2.0], dtype=unspool.float64, requires_grad=True)

    def run(optimizer: Any, steps: int) -> None:
        def closure() -> Any:
            optimizer.zero_grad()
            loss = (w**4).sum() + (w[0] * w[1]) ** 2
            loss.backward()
            return loss

        for _ in range(steps):
            optimizer.step(closure)

    first = unspool.optim.LBFGS([w], max_iter=3, line_search_fn="strong_wolfe")
    run(first, 2)
    start, saved = w.detach().clone(), first.state_dict()
    second = unspool.optim.LBFGS([w], max_iter=3, line_search_fn="strong_wolfe")
    second.load_state_dict(saved)
    run(first, 2)
    expected = w.detach().clone()
    with unspool.no_grad():
        w.copy_(start)
    run(second, 2)
    assert w.tolist() == expected.tolist()
    with pytest.raises(TypeError, match="closure"):
        first.step()
    with pytest.raises(ValueError, match="groups"):
        unspool.optim.LBFGS([{"params": [w]}, {"params": [unspool.ones(1, requires_grad=True)]}])
    with pytest.raises(RuntimeError, match="strong_wolfe"):
        run(unspool.optim.LBFGS([w], line_search_fn="armijo"), 1)


@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (4, 4), (3, 2, 4)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    seen = []
    for m in BOTH:
        m.manual_seed(1)
        t = m.nn.init.orthogonal_(m.empty(shape), gain=2.0)
        seen.append(t.numpy())
    np.testing.assert_allclose(seen[0], seen[1], atol=2e-6)
    flat = seen[0].reshape(shape[0], -1)
    square = flat @ flat.T if flat.shape[0] <= flat.shape[1] else flat.T @ flat
    np.testing.assert_allclose(square, 4 * np.eye(len(square)), atol=1e-5)


def test_sparse_weights() -> None:
    seen = []
    for m in BOTH:
        m.manual_seed(1)
        seen.append(m.nn.init.sparse_(m.empty(6, 4), 0.4, std=0.1).tolist())
    assert seen[0] == seen[1]


def test_weighted_sampler_without_replacement() -> None:
    seen = []
    for m in BOTH:
        m.manual_seed(3)
        sampler = m.utils.data.WeightedRandomSampler([0.1, 3.0, 0.5, 0.0, 1.0], 4, replacement=False)
        seen.append((list(sampler), len(sampler)))
    assert seen[0] == seen[1]
    drawn = list(unspool.utils.data.WeightedRandomSampler([0.0, 1.0, 3.0], 4000))
    assert 0 not in drawn
    assert 2800 < drawn.count(2) < 3200
    for weights, n, replacement in (([[1.0]], 1, True), ([1.0], 0, True), ([1.0], 1, 2)):
        with pytest.raises(ValueError, match="WeightedRandomSampler"):
            unspool.utils.data.WeightedRandomSampler(weights, n, replacement)


def test_stacked_and_chained_data() -> None:
    for m in BOTH:
        data = m.utils.data
        stacked = data.StackDataset([1, 2], ["a", "b"])
        assert [stacked[i] for i in range(len(stacked))] == [(1, "a"), (2, "b")]
        assert data.StackDataset(x=[1], y=[2])[0] == {"x": 1, "y": 2}
        with pytest.raises(ValueError, match=r"[Ss]ize mismatch"):
            data.StackDataset([1], [1, 2])

        class Numbers(data.IterableDataset):
            def __init__(self, n: int) -> None:
                self.n = n

            def __iter__(self) -> Any:
                return iter(range(self.n))

        assert list(Numbers(2) + Numbers(3)) == [0, 1, 0, 1, 2]


def test_a_lazy_layer_finds_its_width() -> None:
    seen = []
    for m in BOTH:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            m.manual_seed(2)
            model = m.nn.Sequential(m.nn.LazyLinear(3), m.nn.ReLU(), m.nn.LazyLinear(2, bias=False))
            shown = repr(model)
            first = model[0].weight
            y = model(m.ones(4, 5))
            assert model[0].weight is first
            assert type(model[0]).__name__ == "Linear"
        seen.append((shown, repr(model), y.detach().numpy(), [tuple(p.shape) for p in model.parameters()]))
    np.testing.assert_allclose(seen[0][2], seen[1][2], atol=1e-6)
    assert (seen[0][0], seen[0][1], seen[0][3]) == (seen[1][0], seen[1][1], seen[1][3])


def test_views_in_place() -> None:
    seen = []
    for m in BOTH:
        x = m.arange(6.0).reshape(1, 2, 3)
        rows = [tuple(x.squeeze_().shape), tuple(x.t_().shape), x.tolist(), tuple(x.unsqueeze_(0).shape)]
        rows += [tuple(x.transpose_(0, 1).shape), x.stride(), tuple(x.squeeze_(1).shape), x.is_contiguous(), x.tolist()]
        seen.append(rows)
    assert seen[0] == seen[1]
    with pytest.raises(RuntimeError, match="squeeze_"):
        (unspool.ones(1, 2, requires_grad=True) * 2).squeeze_()


def test_views_of_another_dtype() -> None:
    seen = []
    for m in BOTH:
        x = m.tensor([[1.0, -2.5], [0.0, 3.0]])
        rows: list[Any] = [x.view(m.int32).tolist(), x.view(m.uint8).tolist(), x.view(m.int64).tolist()]
        rows += [x.view(m.uint8).view(m.float32).tolist(), tuple(x.view(m.float64).shape), x.view(m.float32) is x]
        x.view(m.int32)[0, 0] = 0
        rows += [x.tolist(), x._version]
        for bad in (lambda m=m, x=x: x.t().view(m.uint8), lambda m=m: m.ones(3).view(m.float64),
                    lambda m=m: m.tensor(1.0).view(m.uint8)):  # fmt: skip
            with pytest.raises(RuntimeError):
                bad()
        seen.append(rows)
    assert seen[0] == seen[1]


MATRIX = np.array([[2.0, 0.5, -0.3], [0.1, 1.5, 0.7], [0.4, -0.6, 3.0]])
WIDE = np.array([[2.0, 0.5, -0.3, 0.2], [0.1, 1.5, 0.7, -1.0], [0.4, -0.6, 3.0, 0.3]])
MATRICES: dict[str, Any] = {
    "svd": (WIDE, lambda m, a: (lambda f: f[0] @ m.diag(f[1] ** 2) @ f[2])(m.linalg.svd(a, full_matrices=False))),
    "svd tall": (WIDE.T, lambda m, a: (lambda f: f[0].abs() @ m.diag(f[1]) @ f[2].abs())(m.linalg.svd(a, False))),
    "svdvals": (WIDE, lambda m, a: m.linalg.svdvals(a)),
    "torch.svd": (WIDE, lambda m, a: (lambda f: f.U.abs() @ m.diag(f.S) @ f.V.abs().t())(m.svd(a))),
    "eigh": (MATRIX, lambda m, a: (lambda f: f[1].abs() @ m.diag(f[0]))(m.linalg.eigh(a + a.T))),
    "eigvalsh": (MATRIX, lambda m, a: m.linalg.eigvalsh(a @ a.T)),
    "qr": (WIDE.T, lambda m, a: (lambda f: f.Q.abs() @ f.R.abs())(m.linalg.qr(a))),
    "pinv wide": (WIDE, lambda m, a: m.linalg.pinv(a)),
    "pinv tall": (WIDE.T, lambda m, a: m.linalg.pinv(a)),
    "pinverse": (MATRIX, lambda m, a: m.pinverse(a)),
    "lstsq": (WIDE.T, lambda m, a: m.linalg.lstsq(a, m.ones(4, 2, dtype=a.dtype)).solution),
    "cond": (MATRIX, lambda m, a: m.linalg.cond(a)),
    "nuclear": (WIDE, lambda m, a: m.linalg.matrix_norm(a, "nuc")),
    "spectral": (WIDE, lambda m, a: m.linalg.norm(a, 2)),
    "least": (MATRIX, lambda m, a: m.linalg.matrix_norm(a, -2, keepdim=True)),
    "triangular": (MATRIX, lambda m, a: m.linalg.solve_triangular(a, a.T, upper=True)),
    "unitriangular": (MATRIX, lambda m, a: m.linalg.solve_triangular(a, a.T, upper=False, unitriangular=True)),
    "cholesky_solve": (MATRIX, lambda m, a: m.cholesky_solve(a, m.linalg.cholesky(a @ a.T))),
    "cholesky_inverse": (MATRIX, lambda m, a: m.cholesky_inverse(m.linalg.cholesky(a @ a.T))),
    "matrix_exp": (MATRIX, lambda m, a: m.matrix_exp(a)),
    "logdet": (MATRIX, lambda m, a: m.logdet(a)),
    "slogdet": (MATRIX, lambda m, a: m.slogdet(a).logabsdet),
    "inverse": (MATRIX, lambda m, a: a.inverse()),
    "det": (MATRIX, lambda m, a: a.det()),
}


@pytest.mark.parametrize("name", MATRICES)
def test_factorisations(name: str) -> None:
    data, f = MATRICES[name]
    seen = []
    for m in BOTH:
        a = m.tensor(data, requires_grad=True)
        y = f(m, a)
        weights = m.tensor(np.linspace(0.5, 1.5, y.numel()).reshape(tuple(y.shape)))
        (g,) = m.autograd.grad((y * weights).sum(), a, create_graph=True)
        (second,) = m.autograd.grad((g * m.tensor(np.cos(data))).sum(), a)
        seen.append([y.detach().numpy(), g.detach().numpy(), second.numpy()])
    for mine, theirs in zip(*seen, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-8, atol=1e-8)


def test_what_has_no_derivative_says_so() -> None:
    a = unspool.tensor(WIDE, requires_grad=True)
    with pytest.raises(NotImplementedError, match="full_matrices"):
        unspool.linalg.svd(a)[2].sum().backward()
    with pytest.raises(NotImplementedError, match="reduced"):
        unspool.linalg.qr(a)[1].sum().backward()
    with pytest.raises(NotImplementedError, match="complex"):
        unspool.linalg.eig(unspool.eye(2))
    unspool.linalg.svd(a)[1].sum().backward()  # the singular values have one


SPECIAL = {
    "entr": [-1.0, 0.0, 0.5, 2.0], "ndtr": [-8.0, -1.0, 0.0, 3.0], "log_ndtr": [-50.0, -3.0, -1.0, 0.0, 6.0],
    "erfcx": [-2.0, 0.0, 1.0, 20.0, 40.0], "expit": [-3.0, 2.0], "gammaln": [0.1, 1.0, 7.5], "psi": [0.2, 3.0, -0.5],
    "digamma": [1e-3, 40.0], "erfinv": [-0.999, -0.3, 0.0, 1e-9, 0.5, 0.99999],
    "logit": [0.1, 0.9], "sinc": [0.0, 0.3], "exp2": [1.0, -2.0], "expm1": [1e-9], "log1p": [1e-9], "erf": [0.3],
    "erfc": [2.0],
}  # fmt: skip


@pytest.mark.parametrize("name", SPECIAL)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_special_functions(name: str, dtype: str) -> None:
    seen = []
    for m in BOTH:
        x = m.tensor(SPECIAL[name], dtype=getattr(m, dtype), requires_grad=True)
        y = getattr(m.special, name)(x)
        y.sum().backward()
        seen.append((y.detach().numpy(), x.grad.numpy()))
    for mine, theirs in zip(*seen, strict=True):
        np.testing.assert_allclose(
            mine,
            theirs,
            rtol=1e-9 if dtype == "float64" else 1e-3 if name in ("log_ndtr", "erfcx") else 2e-5,
            atol=1e-12,
        )


def test_names_of_functions_that_stand_twice() -> None:
    x = unspool.tensor([[0.5, -1.0]])
    for name in ("selu", "celu", "hardshrink", "softmax"):
        args = (1,) if name == "softmax" else ()
        assert getattr(unspool, name)(x, *args).tolist() == getattr(unspool.nn.functional, name)(x, *args).tolist()
    assert unspool.special.xlog1py(x, x.abs()).tolist() == (x * unspool.log1p(x.abs())).tolist()
    assert x[unspool.newaxis].shape == (1, 1, 2)
    with pytest.raises(RuntimeError, match="CPU only"):
        x.cuda()
    with pytest.raises(AttributeError, match="fft"):
        _ = unspool.fft


def test_cholesky_ex_names_the_first_minor_that_fails() -> None:
    both = unspool.tensor([[[2.0, 1.0], [1.0, 3.0]], [[1.0, 2.0], [2.0, 1.0]]], requires_grad=True)
    factor, info = unspool.linalg.cholesky_ex(both)
    assert (info.tolist(), info.dtype) == ([0, 2], unspool.int32)
    assert factor[1].isnan().all()
    assert unspool.allclose(factor[0] @ factor[0].T, both[0])
    factor[0].sum().backward()
    assert both.grad[0].isfinite().all()
    with pytest.raises(unspool.linalg.LinAlgError, match="leading minor of order 2"):
        unspool.linalg.cholesky_ex(both, check_errors=True)
