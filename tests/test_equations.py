"""The equations of the notes on chapter 7 of Understanding Deep Learning, transcribed in NumPy's float64.

    forward:   f_0 = β_0 + Ω_0 x,   h_k = a[f_{k-1}],   f_k = β_k + Ω_k h_k,   k = 1..K
    backward:  ∂l/∂β_k = ∂l/∂f_k,   ∂l/∂Ω_k = (∂l/∂f_k) h_kᵀ,   k = K..0 with h_0 = x
               ∂l/∂f_{k-1} = 1[f_{k-1} > 0] ⊙ (Ω_kᵀ ∂l/∂f_k),   k = K..1

Then what follows from them: means of gradients, the collapse of a deep linear network, units that stay identical.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import unspool
from tolerances import assert_close
from unspool import nn
from unspool.nn import functional as F

Array = np.ndarray[Any, np.dtype[np.float64]]

# Input, K hidden layers, output: all different, none a multiple of a vector's width.
WIDTHS = {
    1: (3, 7, 2),
    2: (5, 13, 6, 3),
    3: (10, 40, 33, 9, 5),
    4: (1, 11, 5, 19, 8, 2),
    5: (6, 21, 14, 3, 17, 10, 4),
    6: (4, 9, 31, 12, 67, 15, 8, 1),
}
EXAMPLES = 11


class Notes:
    """The notes' network on column vectors, one example at a time, with the least squares loss of one example."""

    def __init__(self, widths: tuple[int, ...], seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.K = len(widths) - 2
        self.omega = [rng.normal(0.0, np.sqrt(2.0 / i), (o, i)) for i, o in pairwise(widths)]
        self.beta = [rng.normal(0.0, 0.5, o) for o in widths[1:]]
        self.x = rng.standard_normal((EXAMPLES, widths[0]))
        self.y = rng.standard_normal((EXAMPLES, widths[-1]))

    def forward(self, x: Array) -> tuple[list[Array], list[Array]]:
        h, f = [x], [self.beta[0] + self.omega[0] @ x]
        for k in range(1, self.K + 1):
            h.append(np.maximum(f[k - 1], 0.0))
            f.append(self.beta[k] + self.omega[k] @ h[k])
        return f, h

    def backward(self, x: Array, y: Array) -> tuple[list[Array], list[Array], list[Array]]:
        """(∂l/∂f_k, ∂l/∂β_k, ∂l/∂Ω_k) of l = mean over the outputs of (f_K - y)²."""
        f, h = self.forward(x)
        df: list[Array] = [np.empty(0)] * (self.K + 1)
        df[self.K] = 2.0 * (f[self.K] - y) / y.size
        for k in range(self.K, 0, -1):
            df[k - 1] = (f[k - 1] > 0.0) * (self.omega[k].T @ df[k])
        return df, df, [np.outer(df[k], h[k]) for k in range(self.K + 1)]


class Ours:
    """The same network in unspool: rows are examples, so f = h Ωᵀ + β."""

    def __init__(self, notes: Notes) -> None:
        self.omega = [unspool.tensor(w, requires_grad=True) for w in notes.omega]
        self.beta = [unspool.tensor(b, requires_grad=True) for b in notes.beta]

    def forward(self, x: Any) -> tuple[list[Any], list[Any]]:
        h, f = [x], [F.linear(x, self.omega[0], self.beta[0])]
        for omega, beta in zip(self.omega[1:], self.beta[1:], strict=True):
            h.append(F.relu(f[-1]))
            f.append(F.linear(h[-1], omega, beta))
        return f, h

    def grads(self, x: Any, y: Any) -> tuple[list[Array], list[Array]]:
        """Of the mean loss of the rows, taken out of `.grad`."""
        F.mse_loss(self.forward(x)[0][-1], y).backward()
        taken = [p.grad.numpy().copy() for p in self.beta], [p.grad.numpy().copy() for p in self.omega]
        for p in self.beta + self.omega:
            p.grad = None
        return taken


@pytest.fixture(params=sorted(WIDTHS), ids="K={}".format)
def notes(request: pytest.FixtureRequest) -> Notes:
    return Notes(WIDTHS[request.param], seed=request.param)


def test_forward(notes: Notes) -> None:
    f, h = Ours(notes).forward(unspool.tensor(notes.x))
    assert len(f) == len(h) == notes.K + 1
    for i, x in enumerate(notes.x):
        f_i, h_i = notes.forward(x)
        for k in range(notes.K + 1):
            assert_close(f[k].detach().numpy()[i], f_i[k], what=f"f_{k} of example {i}")
            assert_close(h[k].detach().numpy()[i], h_i[k], what=f"h_{k} of example {i}")


def test_some_units_are_off_and_some_on(notes: Notes) -> None:
    """Otherwise the indicator of the backward equation would go untested."""
    on = np.concatenate([f > 0.0 for x in notes.x for f in notes.forward(x)[0][:-1]])
    assert 0.2 < on.mean() < 0.8


def test_backward_of_each_example(notes: Notes) -> None:
    ours = Ours(notes)
    for x, y in zip(notes.x, notes.y, strict=True):
        _, dbeta, domega = notes.backward(x, y)
        got_beta, got_omega = ours.grads(unspool.tensor(x), unspool.tensor(y))
        for k in range(notes.K + 1):
            assert_close(got_beta[k], dbeta[k], what=f"∂l/∂β_{k}")
            assert_close(got_omega[k], domega[k], what=f"∂l/∂Ω_{k}")


def test_backward_of_the_pre_activations(notes: Notes) -> None:
    """∂l/∂f_k, the derivative that the notes carry from layer to layer."""
    f, _ = Ours(notes).forward(unspool.tensor(notes.x[0]))
    got = unspool.autograd.grad(F.mse_loss(f[-1], unspool.tensor(notes.y[0])), f)
    expected, _, _ = notes.backward(notes.x[0], notes.y[0])
    for k in range(notes.K + 1):
        assert_close(got[k].numpy(), expected[k], what=f"∂l/∂f_{k}")


def test_module_and_equations_agree(notes: Notes) -> None:
    """nn.Sequential, which may fuse a Linear and its ReLU, computes the same network."""
    layers: list[Any] = []
    for omega, beta in zip(notes.omega, notes.beta, strict=True):
        linear = nn.Linear(omega.shape[1], omega.shape[0], dtype=unspool.float64)
        linear.load_state_dict({"weight": unspool.tensor(omega), "bias": unspool.tensor(beta)})
        layers += [linear, nn.ReLU()]
    model = nn.Sequential(*layers[:-1])
    nn.MSELoss()(model(unspool.tensor(notes.x)), unspool.tensor(notes.y)).backward()
    per_example = [notes.backward(x, y) for x, y in zip(notes.x, notes.y, strict=True)]
    for k in range(notes.K + 1):
        assert_close(model[2 * k].bias.grad.numpy(), np.mean([g[1][k] for g in per_example], axis=0), what=f"β_{k}")
        assert_close(model[2 * k].weight.grad.numpy(), np.mean([g[2][k] for g in per_example], axis=0), what=f"Ω_{k}")


def test_mean_of_gradients_is_gradient_of_mean(notes: Notes) -> None:
    """ "Is there a difference between the gradient of the combined loss and computing it point-wise?" No."""
    ours = Ours(notes)
    each = [ours.grads(unspool.tensor(x), unspool.tensor(y)) for x, y in zip(notes.x, notes.y, strict=True)]
    together = ours.grads(unspool.tensor(notes.x), unspool.tensor(notes.y))
    for kind, name in ((0, "β"), (1, "Ω")):
        for k in range(notes.K + 1):
            mean = np.mean([g[kind][k] for g in each], axis=0)
            assert_close(together[kind][k], mean, what=f"∂l/∂{name}_{k}")


def test_accumulated_examples_are_their_sum(notes: Notes) -> None:
    """ "Calculate those derivatives for every training example in the batch and sum them": .grad does it."""
    ours = Ours(notes)
    for x, y in zip(notes.x, notes.y, strict=True):
        F.mse_loss(ours.forward(unspool.tensor(x))[0][-1], unspool.tensor(y)).backward()
    per_example = [notes.backward(x, y) for x, y in zip(notes.x, notes.y, strict=True)]
    for k in range(notes.K + 1):
        assert_close(ours.beta[k].grad.numpy(), np.sum([g[1][k] for g in per_example], axis=0), what=f"β_{k}")
        assert_close(ours.omega[k].grad.numpy(), np.sum([g[2][k] for g in per_example], axis=0), what=f"Ω_{k}")


# --- a deep linear network -----------------------------------------------------------------------------------------


def test_linear_network_is_one_matrix(notes: Notes) -> None:
    """f = A x + b with A = Ω_K … Ω_0: equal values, equal ∂l/∂x and, through the product A, equal ∂l/∂Ω_k."""
    deep, flat = Ours(notes), Ours(notes)
    x_deep, x_flat = (unspool.tensor(notes.x, requires_grad=True) for _ in range(2))
    y = unspool.tensor(notes.y)

    f = x_deep
    for omega, beta in zip(deep.omega, deep.beta, strict=True):
        f = F.linear(f, omega, beta)
    a, b = flat.omega[0], flat.beta[0]
    for omega, beta in zip(flat.omega[1:], flat.beta[1:], strict=True):
        a, b = omega @ a, omega @ b + beta
    f_flat = F.linear(x_flat, a, b)

    a_np, b_np = notes.omega[0], notes.beta[0]
    for omega_np, beta_np in zip(notes.omega[1:], notes.beta[1:], strict=True):
        a_np, b_np = omega_np @ a_np, omega_np @ b_np + beta_np
    assert_close(f_flat.detach().numpy(), notes.x @ a_np.T + b_np, what="the collapsed network")
    assert_close(f.detach().numpy(), notes.x @ a_np.T + b_np, what="the deep network")

    F.mse_loss(f, y).backward()
    F.mse_loss(f_flat, y).backward()
    df = 2.0 * (notes.x @ a_np.T + b_np - notes.y) / notes.y.size
    assert_close(x_deep.grad.numpy(), df @ a_np, what="∂l/∂x")
    assert_close(x_deep.grad.numpy(), x_flat.grad.numpy(), what="∂l/∂x of both")
    for k in range(notes.K + 1):
        assert_close(deep.omega[k].grad.numpy(), flat.omega[k].grad.numpy(), what=f"∂l/∂Ω_{k}")
        assert_close(deep.beta[k].grad.numpy(), flat.beta[k].grad.numpy(), what=f"∂l/∂β_{k}")


def test_with_relu_it_is_not_one_matrix(notes: Notes) -> None:
    """A linear map has f(x) + f(-x) = 2 f(0)."""
    ours = Ours(notes)
    x = unspool.tensor(notes.x)
    f = [ours.forward(z)[0][-1].detach().numpy() for z in (x, -x, x * 0.0)]
    assert np.abs(f[0] + f[1] - 2.0 * f[2]).max() > 0.1


# --- units that start identical ------------------------------------------------------------------------------------

OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "momentum": lambda p: unspool.optim.SGD(p, lr=0.005, momentum=0.9),
    "nesterov": lambda p: unspool.optim.SGD(p, lr=0.005, momentum=0.9, nesterov=True, weight_decay=1e-3),
    "adam": lambda p: unspool.optim.Adam(p, lr=0.01),
    "amsgrad": lambda p: unspool.optim.Adam(p, lr=0.01, amsgrad=True, weight_decay=1e-3),
}


def trained(width: int, optimizer: str, twins: list[int], steps: int = 100) -> tuple[Any, Any]:
    """10 - width - width - 5 in float32; in both hidden layers the units `twins` start as the first of them.

    A unit is its row of incoming weights, its bias and its column of outgoing weights. Returns the weights before
    and after as lists of arrays.
    """
    rng = np.random.default_rng(width)
    weights = [rng.normal(0.0, np.sqrt(2.0 / i), (o, i)) for i, o in ((10, width), (width, width), (width, 5))]
    biases = [rng.normal(0.0, 0.1, o) for o in (width, width, 5)]
    first = twins[0]
    for k in (0, 1):
        weights[k][twins] = weights[k][first]
        biases[k][twins] = biases[k][first]
        weights[k + 1][:, twins] = weights[k + 1][:, [first]] / len(twins)  # they act as one
    # The second layer's twin follows the first layer's, so that neither is dead.
    weights[1][np.ix_(twins, twins)] = np.abs(weights[1][first, first])
    model = nn.Sequential(nn.Linear(10, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 5))
    for k in range(3):
        state = {"weight": weights[k].astype(np.float32), "bias": biases[k].astype(np.float32)}
        model[2 * k].load_state_dict({name: unspool.tensor(value) for name, value in state.items()})
    before = [p.detach().numpy().copy() for p in model.parameters()]
    x = unspool.tensor(rng.standard_normal((7 * 11, 10)).astype(np.float32))
    y = unspool.tensor(rng.standard_normal((7 * 11, 5)).astype(np.float32))
    opt = OPTIMIZERS[optimizer](model.parameters())
    for step in range(steps):
        batch = slice(7 * (step % 11), 7 * (step % 11 + 1))
        opt.zero_grad()
        F.mse_loss(model(x[batch]), y[batch]).backward()
        opt.step()
    return before, [p.detach().numpy().copy() for p in model.parameters()]


def bits(a: Any) -> Any:
    return np.ascontiguousarray(a).view(np.uint32)


def assert_twins(after: list[Any], twins: list[int]) -> None:
    first = twins[0]
    for k, name in ((0, "first"), (1, "second")):
        weight, bias, outgoing = after[2 * k], after[2 * k + 1], after[2 * k + 2]
        for unit in twins[1:]:
            for mine, other in (
                (weight[unit], weight[first]),
                (bias[unit : unit + 1], bias[first : first + 1]),
                (outgoing[:, unit], outgoing[:, first]),
            ):
                assert np.array_equal(bits(mine), bits(other)), f"unit {unit} of the {name} hidden layer left {first}"


@pytest.mark.parametrize("width", [13, 40, 67])
@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
def test_identical_units_stay_identical(width: int, optimizer: str) -> None:
    """All of them: the network has one unit a layer, whatever its width, and training can't change that."""
    twins = list(range(width))
    before, after = trained(width, optimizer, twins)
    assert_twins(before, twins)
    assert_twins(after, twins)
    for old, new in zip(before, after, strict=True):
        assert np.isfinite(new).all()
        assert not np.array_equal(old, new)


@pytest.mark.parametrize("width", [13, 40, 67])
@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
def test_twins_among_others_stay_identical(width: int, optimizer: str) -> None:
    """Some in the middle of a vector, some in its tail: an element's bits don't depend on where it stands."""
    twins = [0, 3, 8, width // 2, width - 2, width - 1]
    before, after = trained(width, optimizer, twins)
    assert_twins(before, twins)
    assert_twins(after, twins)
    for old, new in zip(before, after, strict=True):
        assert np.isfinite(new).all()
        assert not np.array_equal(old, new)
    others = [u for u in range(width) if u not in twins]
    assert len(np.unique(after[0][others], axis=0)) == len(others)
    with pytest.raises(AssertionError, match="left"):
        assert_twins(after, [0, others[0]])


# --- the gradient snippet ------------------------------------------------------------------------------------------

SNIPPET = """\
def f(param, x): return x * param
x = tensor(1.0)
param = tensor(3.0, requires_grad=True)
loss = abs(f(param, x) - 2.0)
loss.backward()
"""


def test_gradient_snippet() -> None:
    """Week 5's question "what is a gradient?", word for word after the import."""
    names: dict[str, Any] = {}
    exec("from unspool import tensor\n" + SNIPPET, names)
    param, x, loss = names["param"], names["x"], names["loss"]
    assert loss.item() == 1.0
    assert loss.shape == param.shape == x.shape == param.grad.shape == ()
    assert param.grad.item() == 1.0  # sign(3·1 - 2) · x
    assert repr(param.grad) == "tensor(1.)"
    assert x.grad is None
    assert not param.grad.requires_grad


@pytest.mark.parametrize(("start", "gradient"), [(3.0, 1.0), (2.0, 0.0), (1.0, -1.0), (-5.0, -1.0)])
def test_gradient_snippet_elsewhere(start: float, gradient: float) -> None:
    """ "At the current setting": elsewhere it is another number; at the kink, 0 as in PyTorch."""
    names: dict[str, Any] = {}
    exec("from unspool import tensor\n" + SNIPPET.replace("3.0", str(start)), names)
    assert names["param"].grad.item() == gradient
