"""Copies, pickles and other processes: what goes there comes back the same, and what can't be copied says why.

The functions that the workers run stand at the top of this file, where a spawned process finds them.
"""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import unspool
from unspool import nn
from unspool.utils.data import DataLoader, RandomSampler, Subset, TensorDataset


def shown(o: Any) -> str:
    """What a worker sees of an object."""
    extra = ""
    if isinstance(o, unspool.Generator):
        extra = str(copy.deepcopy(o).get_state().tolist())
    if isinstance(o, TensorDataset):
        extra = str([o[i] for i in range(len(o))])
    if isinstance(o, nn.Module):
        extra = str(o.state_dict())
    if isinstance(o, unspool.Tensor):
        extra = str((o.requires_grad, o.is_leaf, o.shape, o.dtype, o.grad, type(o).__name__))
    return re.sub("0x[0-9a-f]+", "0x", repr(o)) + extra


def doubled(t: Any) -> Any:
    return t * 2


def trained(seed: int) -> tuple[Any, Any]:
    """A module and an optimizer's state after a few steps."""
    unspool.manual_seed(seed)
    m = nn.Sequential(nn.Linear(3, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 1))
    optimizer = unspool.optim.Adam(m.parameters(), lr=0.1)
    x = unspool.randn(256, 3)
    for _ in range(3):
        optimizer.zero_grad()
        m(x).square().mean().backward()
        optimizer.step()
    return m, optimizer.state_dict()


def _used_generator() -> Any:
    g = unspool.Generator().manual_seed(3)
    unspool.rand(5, generator=g)
    unspool.randn(1, generator=g)
    return g


OBJECTS: dict[str, Callable[[], Any]] = {
    "tensor": lambda: unspool.arange(6).reshape(2, 3),
    "strided tensor": lambda: unspool.arange(6.0).reshape(2, 3).T[1:],
    "empty tensor": lambda: unspool.zeros(0, 3, dtype=unspool.bool),
    "number": lambda: unspool.tensor(2.5, dtype=unspool.float64),
    "leaf": lambda: unspool.ones(2, requires_grad=True),
    "parameter": lambda: nn.Parameter(unspool.ones(2)),
    "frozen parameter": lambda: nn.Parameter(unspool.ones(2), requires_grad=False),
    "buffer": lambda: nn.Buffer(unspool.ones(2)),
    "module": lambda: nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Dropout(0.1), nn.PReLU()),
    "loss": lambda: nn.CrossEntropyLoss(weight=unspool.ones(3)),
    "state": lambda: nn.Linear(2, 2).state_dict(),
    "optimizer": lambda: unspool.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1, momentum=0.9),
    "schedule": lambda: unspool.optim.lr_scheduler.StepLR(unspool.optim.Adam(nn.Linear(1, 1).parameters()), 2),
    "data set": lambda: TensorDataset(unspool.arange(3), unspool.ones(3, 2)),
    "part of one": lambda: Subset(TensorDataset(unspool.arange(3)), [2, 0]),
    "loader": lambda: DataLoader(TensorDataset(unspool.arange(3)), batch_size=2, shuffle=True),
    "sampler": lambda: RandomSampler(range(4), generator=_used_generator()),
    "generator": _used_generator,
    "size": lambda: unspool.Size([2, 3]),
    "dtype": lambda: unspool.float64,
    "device": lambda: unspool.device("cpu"),
    "named results": lambda: unspool.tensor([[1.0, 3.0]]).max(1),
    "counted results": lambda: unspool.mode(unspool.tensor([1, 1, 2])),
    "finfo": lambda: unspool.finfo(unspool.float32),
    "distribution": lambda: unspool.distributions.Normal(0.0, unspool.ones(2)),
    "old type": lambda: unspool.FloatTensor,
    "hook's handle": lambda: nn.Linear(1, 1).register_forward_hook(print),
}
COPIES: dict[str, Callable[[Any], Any]] = {
    "pickle 2": lambda o: pickle.loads(pickle.dumps(o, protocol=2)),
    "pickle 5": lambda o: pickle.loads(pickle.dumps(o, protocol=5)),
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
}
NOT_COPIED = {"hook's handle"}


@pytest.mark.parametrize("how", list(COPIES))
@pytest.mark.parametrize("name", [name for name in OBJECTS if name not in NOT_COPIED])
def test_a_copy_shows_the_same(name: str, how: str) -> None:
    unspool.manual_seed(1)
    made = OBJECTS[name]()
    assert shown(COPIES[how](made)) == shown(made)


@pytest.fixture(scope="module", params=["fork", "spawn", "forkserver"])
def pool(request: pytest.FixtureRequest) -> Iterator[Any]:
    with multiprocessing.get_context(request.param).Pool(2) as workers:
        yield workers


def test_other_processes_see_the_same(pool: Any) -> None:
    unspool.manual_seed(1)
    made = [make() for name, make in OBJECTS.items() if name not in NOT_COPIED]
    assert pool.map(shown, made, chunksize=4) == [shown(o) for o in made]


def test_results_come_back(pool: Any) -> None:
    assert [t.tolist() for t in pool.map(doubled, [unspool.ones(3), unspool.tensor(4)])] == [[2.0, 2.0, 2.0], 8]
    here, _ = trained(5)
    for module, state in pool.map(trained, [5, 5]):
        for (name, ours), theirs in zip(here.state_dict().items(), module.state_dict().values(), strict=True):
            assert unspool.equal(ours, theirs), name
        assert state["state"][0]["step"] == 3
        assert module(unspool.ones(2, 3)).shape == (2, 1)


def test_errors_come_back_with_their_type(pool: Any) -> None:
    with pytest.raises(TypeError):
        pool.apply(unspool.matmul, (unspool.ones(2, 3), 3))
    with pytest.raises(unspool.errors.ShapeError, match="matmul"):
        pool.apply(unspool.matmul, (unspool.ones(2, 3), unspool.ones(2, 3)))


def test_gradients_shared_memory_and_identity_of_copies() -> None:
    x = unspool.ones(2, requires_grad=True)
    (x * 3).sum().backward()
    x.note = "kept"
    a = copy.deepcopy(x)
    assert (a.grad.tolist(), a.note) == ([3.0, 3.0], "kept")
    a.grad.zero_()
    assert x.grad.tolist() == [3.0, 3.0]
    twice = copy.deepcopy([x, {"x": x}])
    assert twice[0] is twice[1]["x"]
    again = pickle.loads(pickle.dumps([x, x]))
    assert again[0] is again[1]


def test_a_result_of_operations_is_not_deeply_copied() -> None:
    y = unspool.ones(2, requires_grad=True) * 2
    with pytest.raises(
        RuntimeError, match=r"Only Tensors created explicitly by the user \(graph leaves\) support the "
    ):
        copy.deepcopy(y)
    with pytest.raises(RuntimeError, match="computed by MulBackward0"):
        copy.deepcopy({"y": [y]})


def test_copies_of_modules_keep_ties_and_hooks_and_share_nothing() -> None:
    m = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 2))
    m[2].weight = m[0].weight
    calls: list[str] = []
    m.register_forward_hook(lambda module, args, out: calls.append(type(module).__name__))
    m(unspool.ones(1, 2)).sum().backward()
    other = copy.deepcopy(m)
    assert other[2].weight is other[0].weight
    assert other[0].weight.grad is None  # as in PyTorch
    with unspool.no_grad():
        other[0].weight.zero_()
    assert m[0].weight.abs().sum().item() > 0
    calls.clear()
    other(unspool.ones(1, 2))
    assert calls == ["Sequential"]


def test_a_copied_optimizer_goes_on_with_its_own_parameters() -> None:
    m = nn.Linear(2, 1)
    optimizer = unspool.optim.Adam(m.parameters(), lr=0.1)
    x = unspool.tensor([[1.0, -2.0]])
    m(x).square().sum().backward()
    optimizer.step()
    m2, optimizer2 = copy.deepcopy((m, optimizer))
    assert optimizer2.param_groups[0]["params"][0] is m2.weight
    before = m.weight.tolist()
    for model, steps in ((m2, optimizer2), (m, optimizer)):
        steps.zero_grad()
        model(x).square().sum().backward()
        assert m.weight.tolist() == before
        steps.step()
    assert m.weight.tolist() == m2.weight.tolist() != before


def test_a_copied_generator_goes_on_alone() -> None:
    g = _used_generator()
    h, k = copy.deepcopy(g), pickle.loads(pickle.dumps(g))
    drawn = [unspool.rand(3, generator=each).tolist() for each in (g, h, k)]
    assert drawn[0] == drawn[1] == drawn[2]
