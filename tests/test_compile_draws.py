"""Distributions, draws by tensors and `vmap` within frozen functions: with the eager bits, and with their checks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import unspool
import unspool.nn.functional as F
from compile_programs import bits
from unspool import distributions, nn, optim
from unspool.func import functional_call, grad, vmap


@pytest.mark.parametrize(
    "draw",
    [
        lambda: unspool.empty(5).uniform_(),
        lambda: unspool.empty(5).normal_(),
        lambda: F.dropout(unspool.ones(5), 0.5),
        lambda: unspool.bernoulli(unspool.full((3,), 0.5)),
        lambda: unspool.zeros(3).random_(4),
    ],
    ids=["uniform_", "normal_", "dropout", "bernoulli", "random_"],
)
def test_random_numbers_that_nobody_reads_move_the_stream_on(draw: Callable[[], Any]) -> None:
    """A dead step is left out of a plan; not one that draws, on which all later draws depend."""

    def function(x: Any) -> Any:
        draw()
        return x + unspool.rand(2)

    seen = []
    for call in (function, unspool.compile(function)):
        unspool.manual_seed(1)
        seen.append([bits(call(unspool.ones(2))) for _ in range(5)])
    assert seen[0] == seen[1]


def _policy(kind: str) -> tuple[Callable[..., Any], Callable[[], list[Any]]]:
    """A step of a policy gradient, with its draws."""
    unspool.manual_seed(0)
    net, opt_kind = nn.Linear(3, 4), optim.Adam
    opt = opt_kind(net.parameters(), lr=0.01)

    def policy(x: Any) -> Any:
        if kind == "normal":
            mean, log_scale = net(x).chunk(2, -1)
            return distributions.Independent(distributions.Normal(mean, log_scale.exp()), 1)
        return distributions.Categorical(logits=net(x))

    def step(x: Any) -> Any:
        opt.zero_grad()
        found = policy(x)
        action = found.sample()
        reward = -action.float().square().reshape(len(x), -1).sum(-1)
        loss = -(found.log_prob(action) * (reward - reward.mean())).mean() - 0.01 * found.entropy().mean()
        loss.backward()
        opt.step()
        return loss.detach(), action

    return step, lambda: [bits(p) for p in net.parameters()] + [bits(unspool.get_rng_state())]


@pytest.mark.parametrize("kind", ["normal", "categorical"])
def test_a_policy_gradient(kind: str) -> None:
    seen = []
    for frozen in (False, True):
        step, state = _policy(kind)
        call = unspool.compile(step) if frozen else step
        seen.append([[*map(bits, call(unspool.randn(5, 3))), *state()] for _ in range(6)])
        if frozen:
            assert call.plans == 1
    assert seen[0] == seen[1]


CHECKED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "normal": (lambda x: unspool.normal(0.0, x), "normal: expects all elements of std >= 0.0, but found std -1"),
    "multinomial": (lambda x: unspool.multinomial(x, 1), "multinomial: probability tensor contains"),
    "multinomial of zeros": (
        lambda x: unspool.multinomial(x.clamp(min=0)[:, :1], 1),
        "sum of probabilities <= 0",
    ),
    "a parameter": (lambda x: distributions.Normal(x, x).rsample(), "Expected parameter scale"),
    "a value": (lambda x: distributions.Exponential(unspool.ones(2)).log_prob(x), "Expected value argument"),
}


@pytest.mark.parametrize("case", CHECKED)
def test_what_the_eager_call_refuses_a_replay_refuses(case: str) -> None:
    function, text = CHECKED[case]
    frozen = unspool.compile(function)
    good, bad = unspool.tensor([[1.0, 2.0], [3.0, 1.0]]), unspool.tensor([[1.0, 2.0], [-1.0, 1.0]])
    for _ in range(3):
        frozen(good)
    assert frozen.plans == 1
    before = bits(unspool.get_rng_state())
    for call in (function, frozen):
        with pytest.raises((ValueError, RuntimeError), match=text):
            call(bad)
        assert bits(unspool.get_rng_state()) == before
    frozen(good)


def test_vmap_looks_at_the_random_stream_without_being_recorded() -> None:
    net = nn.Linear(3, 2)

    def gradients(x: Any) -> Any:
        weights = {name: p.detach() for name, p in net.named_parameters()}
        return vmap(grad(lambda w, one: functional_call(net, w, (one,)).square().sum()), (None, 0))(weights, x)

    frozen = unspool.compile(gradients)
    for _ in range(4):
        x = unspool.randn(4, 3)
        assert {k: bits(t) for k, t in frozen(x).items()} == {k: bits(t) for k, t in gradients(x).items()}
    assert frozen.plans == 1
    draws = unspool.compile(lambda x: vmap(lambda one: one + unspool.rand(()))(x))
    with pytest.raises(RuntimeError, match="called random operation while in randomness error mode"):
        draws(unspool.ones(3))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_second_derivatives_of_cross_entropy(reduction: str, smoothing: float, weighted: bool) -> None:
    """Their rule reads the labels in operations: other labels at each replay, some of them ignored."""
    w = unspool.randn(4, 3, requires_grad=True)
    weight = unspool.tensor([1.0, 0.5, 2.0]) if weighted else None

    def function(x: Any, labels: Any) -> Any:
        loss = F.cross_entropy(x @ w, labels, weight, ignore_index=2, reduction=reduction, label_smoothing=smoothing)
        (g,) = unspool.autograd.grad(loss.sum(), w, create_graph=True)
        (h,) = unspool.autograd.grad((g * g).sum(), w)
        return g.detach(), h

    frozen = unspool.compile(function)
    for labels in ([0, 1, 2, 1, 0], [0, 1, 2, 1, 0], [1, 1, 0, 2, 2], [2, 2, 2, 2, 2], [0, 0, 0, 0, 1]):
        x, y = unspool.randn(5, 4), unspool.tensor(labels)
        assert [bits(t) for t in frozen(x, y)] == [bits(t) for t in function(x, y)]
    assert frozen.plans == 1
