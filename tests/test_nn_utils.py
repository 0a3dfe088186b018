"""`nn.utils` beside PyTorch's: parametrizations, norms of weights, clipping, joined layers."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import unspool
import unspool.nn
from beside_torch import agree

X = np.random.default_rng(3).normal(size=(5, 4)).astype("float32")


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value.detach().numpy().copy() if hasattr(value, "detach") else value


def both(torch: Any, call: Callable[[Any], Any]) -> None:
    seen = []
    for m in (unspool, torch):
        m.manual_seed(5)
        seen.append(plain(call(m)))
    agree(seen[0], seen[1], "")


def shown(m: Any, net: Any, steps: int = 2) -> list[Any]:
    """Text, state, and two steps of training, then an evaluation."""
    seen: list[Any] = [repr(net), dict(net.state_dict()), [name for name, _ in net.named_parameters()]]
    optimizer = m.optim.SGD(net.parameters(), 0.1)
    for _ in range(steps):
        y = net(m.tensor(X))
        optimizer.zero_grad()
        (y * m.arange(y.numel()).reshape(y.shape)).sum().backward()
        seen += [y, [p.grad for p in net.parameters()]]
        optimizer.step()
    seen.append({k: v.clone() for k, v in net.state_dict().items()})
    net.eval()
    return [*seen, net(m.tensor(X))]


NORMS: list[Callable[[Any], Any]] = [
    lambda m: m.nn.utils.parametrizations.weight_norm(m.nn.Linear(4, 3)),
    lambda m: m.nn.utils.parametrizations.weight_norm(m.nn.Linear(4, 3), dim=1),
    lambda m: m.nn.utils.parametrizations.weight_norm(m.nn.Linear(4, 3), dim=None),
    lambda m: m.nn.utils.parametrizations.weight_norm(m.nn.Linear(4, 3), "bias"),
    lambda m: m.nn.utils.parametrizations.spectral_norm(m.nn.Linear(4, 3)),
    lambda m: m.nn.utils.parametrizations.spectral_norm(m.nn.Linear(4, 3), n_power_iterations=3, dim=1),
    lambda m: m.nn.utils.parametrizations.spectral_norm(m.nn.Linear(4, 3), "bias"),
    lambda m: m.nn.utils.parametrizations.spectral_norm(
        m.nn.utils.parametrizations.weight_norm(m.nn.Linear(4, 3)), "bias"
    ),
    lambda m: m.nn.utils.weight_norm(m.nn.Linear(4, 3)),
    lambda m: m.nn.utils.weight_norm(m.nn.Linear(4, 3), "weight", None),
    lambda m: m.nn.utils.spectral_norm(m.nn.Linear(4, 3)),
    lambda m: m.nn.utils.spectral_norm(m.nn.Linear(4, 3), "weight", 2, dim=1),
]


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("i", range(len(NORMS)))
def test_a_norm_of_weights_is_pytorchs(i: int, torch: Any) -> None:
    both(torch, lambda m: shown(m, m.nn.Sequential(NORMS[i](m), m.nn.Tanh())))


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_norms_of_weights_are_removed(torch: Any) -> None:
    def call(m: Any) -> Any:
        utils, seen = m.nn.utils, []
        for make, drop in (
            (utils.weight_norm, utils.remove_weight_norm),
            (utils.spectral_norm, utils.remove_spectral_norm),
            (utils.parametrizations.weight_norm, lambda n: utils.parametrize.remove_parametrizations(n, "weight")),
            (utils.parametrizations.spectral_norm, lambda n: utils.parametrize.remove_parametrizations(n, "weight")),
        ):
            net = make(m.nn.Linear(4, 3)).eval()
            with_norm = net(m.tensor(X))
            assert drop(net) is net
            seen += [repr(net), type(net).__name__, sorted(net.state_dict()), net.weight, with_norm, net(m.tensor(X))]
        return seen

    both(torch, call)


def test_weight_norm_loads_the_older_names(torch: Any) -> None:
    def call(m: Any) -> Any:
        net = m.nn.Sequential(m.nn.utils.parametrizations.weight_norm(m.nn.Linear(4, 3)))
        state = {"0.weight_g": m.ones(3, 1), "0.weight_v": m.full((3, 4), 2.0), "0.bias": m.zeros(3)}
        return [repr(net.load_state_dict(state)), net(m.tensor(X))]

    both(torch, call)


def _parts(m: Any) -> tuple[Any, Any, Any]:
    class Symmetric(m.nn.Module):  # type: ignore[misc,name-defined]
        def forward(self, x: Any) -> Any:
            return x.triu() + x.triu(1).transpose(-1, -2)

        def right_inverse(self, x: Any) -> Any:
            return x.triu()

    class Doubled(m.nn.Module):  # type: ignore[misc,name-defined]
        def forward(self, x: Any) -> Any:
            return x * 2

        def right_inverse(self, x: Any) -> Any:
            return x / 2

    class LowRank(m.nn.Module):  # type: ignore[misc,name-defined]
        def forward(self, a: Any, b: Any) -> Any:
            return a @ b

        def right_inverse(self, x: Any) -> Any:
            return x[:, :1] * 1, x[:1] * 1

    return Symmetric, Doubled, LowRank


def test_parametrizations_in_a_row(torch: Any) -> None:
    def call(m: Any) -> Any:
        Symmetric, Doubled, LowRank = _parts(m)
        P = m.nn.utils.parametrize
        net = m.nn.Linear(3, 3)
        weight = net.weight
        seen: list[Any] = [P.register_parametrization(net, "weight", Symmetric()) is net, repr(net), net.weight]
        P.register_parametrization(net, "weight", Doubled())
        P.register_parametrization(net, "bias", Doubled())
        seen += [net.parametrizations.weight.original is weight, repr(net), dict(net.state_dict()), net.weight]
        seen += [P.is_parametrized(net), P.is_parametrized(net, "weight"), P.is_parametrized(net, "x")]
        seen += [type(net).__name__, P.type_before_parametrizations(net).__name__]
        with m.no_grad():
            net.weight = m.ones(3, 3)
        seen += [net.weight, weight]
        (net.weight * m.arange(9).reshape(3, 3)).sum().backward()
        seen.append(weight.grad)
        with P.cached():
            seen.append(net.weight is net.weight)
        seen.append(net.weight is net.weight)
        P.remove_parametrizations(net, "weight", leave_parametrized=False)
        seen += [repr(net), net.weight, net.weight is weight]
        P.remove_parametrizations(net, "bias")
        seen += [repr(net), type(net).__name__]
        low = P.register_parametrization(m.nn.Linear(3, 2), "weight", LowRank())
        seen += [repr(low), dict(low.state_dict()), low.weight]
        P.remove_parametrizations(low, "weight")
        return [*seen, repr(low), low.weight, type(low.weight).__name__]

    both(torch, call)


def test_a_copy_keeps_its_parametrizations_when_the_other_loses_them() -> None:
    net = unspool.nn.utils.parametrizations.weight_norm(unspool.nn.Linear(4, 3))
    other, x = copy.deepcopy(net), unspool.tensor(X)
    assert repr(other) == repr(net)
    assert other.parametrizations.weight.original0 is not net.parametrizations.weight.original0
    unspool.nn.utils.parametrize.remove_parametrizations(net, "weight")
    assert list(other.state_dict()) == [
        "bias",
        "parametrizations.weight.original0",
        "parametrizations.weight.original1",
    ]
    assert other(x).tolist() == net(x).tolist()


def test_bad_parametrizations_are_refused_and_leave_the_module(torch: Any) -> None:
    def call(m: Any) -> Any:
        P, seen = m.nn.utils.parametrize, []

        class Cut(m.nn.Module):  # type: ignore[misc,name-defined]
            def forward(self, x: Any) -> Any:
                return x[:1]

        class Cast(m.nn.Module):  # type: ignore[misc,name-defined]
            def forward(self, x: Any) -> Any:
                return x.double()

        net = m.nn.Linear(3, 3)
        done = P.register_parametrization(m.nn.Linear(3, 3), "weight", m.nn.Identity())
        for bad in (
            lambda: P.register_parametrization(net, "weight", Cut()),
            lambda: P.register_parametrization(net, "weight", Cast()),
            lambda: P.register_parametrization(net, "nothing", Cut()),
            lambda: P.register_parametrization(done, "weight", Cut()),
            lambda: P.remove_parametrizations(net, "weight"),
            lambda: setattr(done, "weight", m.ones(3, 3)),
            lambda: pickle.dumps(done),
            lambda: m.nn.utils.parametrizations.spectral_norm(net, "nothing"),
            lambda: m.nn.utils.parametrizations.spectral_norm(net, n_power_iterations=0),
            lambda: m.nn.utils.remove_spectral_norm(net),
            lambda: m.nn.utils.remove_weight_norm(net),
        ):
            try:
                bad()
                seen.append("accepted")
            except Exception as error:
                seen.append(type(error).__name__)
        P.register_parametrization(net, "bias", Cut(), unsafe=True)
        return [seen, repr(net), net.bias]

    both(torch, call)


def test_clipping_by_a_norm_that_is_known(torch: Any) -> None:
    def call(m: Any) -> Any:
        net = m.nn.Linear(4, 2)
        net(m.tensor(X)).sum().backward()
        total = m.nn.utils.get_total_norm([p.grad for p in net.parameters()])
        result = m.nn.utils.clip_grads_with_norm_(net.parameters(), 1.5, total)
        return [total, result, *[p.grad for p in net.parameters()]]

    both(torch, call)


@pytest.mark.parametrize("bias", [False, True])
def test_a_linear_layer_takes_in_its_batch_norm(bias: bool, torch: Any) -> None:
    def call(m: Any) -> Any:
        net = m.nn.Sequential(m.nn.Linear(4, 3, bias=bias), m.nn.BatchNorm1d(3))
        for _ in range(3):
            net(m.tensor(X))
        net.eval()
        fused = m.nn.utils.fuse_linear_bn_eval(net[0], net[1])
        return [repr(fused), fused.weight, fused.bias, fused(m.tensor(X)), net(m.tensor(X))]

    both(torch, call)
    with pytest.raises(AssertionError, match="eval mode"):
        unspool.nn.utils.fuse_linear_bn_eval(unspool.nn.Linear(1, 1), unspool.nn.BatchNorm1d(1))


def test_a_module_made_without_drawing(torch: Any) -> None:
    def call(m: Any) -> Any:
        net = m.nn.utils.skip_init(m.nn.Linear, 3, out_features=2)
        return [repr(net), m.rand(3)]

    both(torch, call)
    with pytest.raises(RuntimeError, match="device"):
        unspool.nn.utils.skip_init(unspool.nn.ReLU)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_the_older_functional_call(torch: Any) -> None:
    def call(m: Any) -> Any:
        net = m.nn.utils.parametrizations.weight_norm(m.nn.Linear(4, 3))
        values = {"bias": m.ones(3), "parametrizations.weight.original0": m.zeros(3, 1)}
        return [m.nn.utils.stateless.functional_call(net, values, m.tensor(X)), net(m.tensor(X))]

    both(torch, call)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("dtype", ["float32", "int64", "bool"])
def test_padded_sequences(batch_first: bool, side: str, dtype: str, torch: Any) -> None:
    def call(m: Any) -> Any:
        rows = [m.ones(n, 2).to(getattr(m, dtype)) for n in (2, 3, 0, 1)]
        value = {"float32": -1.5, "int64": -2, "bool": True}[dtype]
        padded = m.nn.utils.rnn.pad_sequence(rows, batch_first, value, side)
        lengths = m.tensor([len(row) for row in rows])
        return padded, m.nn.utils.rnn.unpad_sequence(padded.clone(), lengths, batch_first)

    both(torch, call)


def test_gradients_go_through_padding() -> None:
    x = unspool.ones(2, requires_grad=True)
    padded = unspool.nn.utils.rnn.pad_sequence([x, unspool.ones(3)])
    (padded * unspool.arange(6.0).reshape(3, 2)).sum().backward()
    assert x.grad.tolist() == [0.0, 2.0]


def test_what_can_not_be_padded() -> None:
    pad = unspool.nn.utils.rnn.pad_sequence
    for rows in ([], [unspool.ones(2, 3), unspool.ones(2, 4)], [unspool.ones(())]):
        with pytest.raises(RuntimeError, match="pad_sequence"):
            pad(rows)
    with pytest.raises(ValueError, match="padding_side"):
        pad([unspool.ones(1)], padding_side="middle")
