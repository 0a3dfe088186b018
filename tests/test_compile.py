"""Frozen functions: the bits of the eager call, guards that see what changes, errors that name the line.

The reference is the same program run eagerly, compared bit for bit, random stream included.
"""

from __future__ import annotations

import itertools
import random
import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import unspool
import unspool.nn.functional as F
from test_random_programs import apply, chosen
from unspool import _core, nn, optim
from unspool.errors import PlanError

CALLS = 6
Batch = tuple[Any, Any]


class Residual(nn.Module):
    """Views, writes through views, concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: Any) -> Any:
        h = x + F.relu(self.inner(x))
        h[:, 0] *= 2
        return self.outer(unspool.cat([h[:, :3], h[:, 3:]], 1).transpose(0, 1).contiguous().T)


class Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.out = nn.Embedding(10, 6), nn.Linear(6, 3)

    def forward(self, x: Any) -> Any:
        return self.out(self.table((x.abs() * 5).long() % 10)).mean(1)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attend, self.out = nn.MultiheadAttention(6, 2, batch_first=True), nn.Linear(6, 3)

    def forward(self, x: Any) -> Any:
        return self.out(self.attend(x[None], x[None], x[None], need_weights=False)[0][0])


class Sorted(nn.Module):
    """Indices that depend on values, in and out of the differentiated path."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(6, 3)

    def forward(self, x: Any) -> Any:
        best, where = x.max(1, keepdim=True)
        order = x.argsort(1)
        y = x.gather(1, order) + best + x.take_along_dim(where, 1)
        return self.out(y[[4, 0, 1, 2, 3]].flip(0).tril(2)) + x.median(1, keepdim=True).values


MODELS: dict[str, Callable[[], Any]] = {
    "three layers": lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3)),
    "separate relu": lambda: Separate(),
    "dropout": lambda: nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.3), nn.GELU(), nn.Linear(8, 3)),
    "batch_norm": lambda: nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.LeakyReLU(), nn.Linear(8, 3)),
    "layer_norm": lambda: nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.SiLU(), nn.Linear(8, 3)),
    "group_norm": lambda: nn.Sequential(nn.Linear(6, 8), nn.GroupNorm(2, 8), nn.ELU(), nn.Linear(8, 3)),
    "rms_norm": lambda: nn.Sequential(nn.Linear(6, 8), nn.RMSNorm(8), nn.Sigmoid(), nn.Linear(8, 3)),
    "softmax": lambda: nn.Sequential(nn.Linear(6, 8), nn.Softmax(-1), nn.Linear(8, 3)),
    "prelu": lambda: nn.Sequential(nn.Linear(6, 8), nn.PReLU(), nn.Linear(8, 3)),
    "alpha_dropout": lambda: nn.Sequential(nn.Linear(6, 8), nn.SELU(), nn.AlphaDropout(0.2), nn.Linear(8, 3)),
    "relu in place": lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(inplace=True), nn.Linear(8, 3)),
    "softplus": lambda: nn.Sequential(nn.Linear(6, 8), nn.Hardtanh(), nn.Softplus(), nn.Mish(), nn.Linear(8, 3)),
    "glu": lambda: nn.Sequential(nn.Linear(6, 8), nn.GLU(), nn.Linear(4, 3)),
    "residual": Residual,
    "embedding": Words,
    "attention": Attention,
    "sorted": Sorted,
}


class Separate(nn.Module):
    """What Sequential would make one operation, as two calls: the plan's own fusion."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x: Any) -> Any:
        return self.b(F.relu(self.a(x)))


def _plain(name: str, **options: Any) -> Callable[[Any], Any]:
    return lambda params: getattr(optim, name)(params, **({"lr": 0.01} | options))


OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    **{
        name: _plain(name)
        for name in ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "Adamax", "NAdam", "RAdam", "Rprop")
    },
    "nesterov": _plain("SGD", momentum=0.9, nesterov=True, weight_decay=0.01),
    "amsgrad": _plain("Adam", amsgrad=True),
    "centered": _plain("RMSprop", centered=True, momentum=0.5),
    "maximize": _plain("SGD", momentum=0.5, dampening=0.1, maximize=True),
}

LOSSES: dict[str, tuple[Callable[..., Any], str]] = {
    "mse": (nn.MSELoss(), "numbers"),
    "l1": (nn.L1Loss(), "numbers"),
    "huber": (nn.HuberLoss(), "numbers"),
    "smooth_l1": (nn.SmoothL1Loss(), "numbers"),
    "cross_entropy": (nn.CrossEntropyLoss(), "classes"),
    "smoothed": (nn.CrossEntropyLoss(label_smoothing=0.1), "classes"),
    "bce": (nn.BCEWithLogitsLoss(), "shares"),
    "kl_div": (nn.KLDivLoss(reduction="batchmean"), "shares"),
    "poisson": (nn.PoissonNLLLoss(), "shares"),
    "hinge": (nn.HingeEmbeddingLoss(), "signs"),
    "soft_margin": (nn.SoftMarginLoss(), "signs"),
    "nll": (lambda y, t: F.nll_loss(F.log_softmax(y, -1), t), "classes"),
    "binary": (lambda y, t: F.binary_cross_entropy(y.sigmoid(), t), "shares"),
    "gaussian": (lambda y, t: F.gaussian_nll_loss(y, t, y.detach().abs() + 0.1), "numbers"),
    "multi_margin": (nn.MultiMarginLoss(), "classes"),
    "multilabel": (lambda y, t: F.multilabel_margin_loss(y, t.unsqueeze(1).expand(-1, 3)), "classes"),
    "triplet": (lambda y, t: F.triplet_margin_loss(y, t, t * 2), "numbers"),
    "cosine": (lambda y, t: F.cosine_embedding_loss(y, t, t[:, 0].sign()), "numbers"),
}

STEPS = ("zero first", "zero last", "accumulate", "zeros", "closure")


def _batch(kind: str, dtype: Any) -> Batch:
    x = unspool.randn(5, 6, dtype=dtype)
    if kind == "classes":
        return x, unspool.randint(0, 3, (5,))
    if kind == "signs":
        return x, unspool.randint(0, 2, (5, 3)).to(dtype) * 2 - 1
    return x, (unspool.randn if kind == "numbers" else unspool.rand)(5, 3, dtype=dtype)


def _step(order: str, model: Any, optimizer: Any, criterion: Any) -> Callable[[Any, Any], Any]:
    def zero_first(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    def zero_last(x: Any, y: Any) -> Any:
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss

    def accumulate(x: Any, y: Any) -> Any:
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        return {"loss": loss.detach(), "of": ("batch", x)}

    def zeros(x: Any, y: Any) -> Any:
        optimizer.zero_grad(set_to_none=False)
        loss = criterion(model(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        return loss, 3.0

    def closure(x: Any, y: Any) -> Any:
        def evaluate() -> Any:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            return loss

        return optimizer.step(evaluate)

    return dict(zip(STEPS, (zero_first, zero_last, accumulate, zeros, closure), strict=True))[order]


def _bits(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _bits(v) for k, v in value.items()}
    if isinstance(value, tuple):
        return tuple(map(_bits, value))
    return value.detach().numpy().tobytes() if isinstance(value, unspool.Tensor) else value


def _train(
    freeze: bool, model: str, optimizer: str, loss: str, order: str = "zero first", dtype: Any = unspool.float32
) -> tuple[list[Any], int]:
    """All that can be seen of a run: results, parameters, gradients, buffers, state, random numbers."""
    unspool.manual_seed(3)
    net = MODELS[model]().to(dtype)
    opt = OPTIMIZERS[optimizer](net.parameters())
    criterion, kind = LOSSES[loss]
    step: Any = _step(order, net, opt, criterion)
    if freeze:
        step = unspool.compile(step)
    seen: list[Any] = []
    for i in range(CALLS):
        seen.append(_bits(step(*_batch(kind, dtype))))
        if i == 3:
            opt.param_groups[0]["lr"] *= 0.5
    seen += [_bits(t) for t in (*net.parameters(), *net.buffers())]
    seen += [None if p.grad is None else _bits(p.grad) for p in net.parameters()]
    seen += [sorted((k, _bits(v)) for k, v in opt.state[p].items()) for p in net.parameters()]
    seen.append(_bits(unspool.randn(3)))
    return seen, step.plans if freeze else 0


def _agree(*args: Any, **kwargs: Any) -> None:
    eager, _ = _train(False, *args, **kwargs)
    frozen, plans = _train(True, *args, **kwargs)
    assert plans == 1
    assert frozen == eager


@pytest.mark.parametrize("model", MODELS)
def test_every_model_trains_to_the_bits_of_the_eager_one(model: str) -> None:
    _agree(model, "nesterov", "mse")


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_steps_to_the_bits_of_the_eager_one(optimizer: str) -> None:
    _agree("three layers", optimizer, "mse")


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_loss_has_the_bits_of_the_eager_one(loss: str, dtype: str) -> None:
    _agree("three layers", "Adam", loss, dtype=getattr(unspool, dtype))


@pytest.mark.parametrize("order", STEPS)
@pytest.mark.parametrize("optimizer", ["Adam", "nesterov", "Adagrad"])
def test_every_order_of_a_steps_parts(order: str, optimizer: str) -> None:
    _agree("three layers", optimizer, "mse", order)


# ---- Random programs -----------------------------------------------------------------------------------------------


def _program(r: random.Random) -> tuple[Callable[..., Any], list[Any], list[tuple[int, ...]]]:
    """A function of tensors, its leaves, and the shapes of its arguments. Writes that backward refuses are left out."""
    seed = r.randrange(1 << 16)
    shapes = [r.choice([(3, 3), (2, 3), (3,), (), (4, 3), (1, 3), (2, 2, 3)]) for _ in range(r.randrange(1, 4))]
    steps = chosen(r, unspool, shapes, seed)
    rng = np.random.default_rng(seed)
    leaves = [unspool.tensor(rng.uniform(0.5, 1.5, shape), requires_grad=True) for shape in shapes]

    def program(*xs: Any) -> Any:
        for leaf in leaves:
            leaf.grad = None
        live = [x * leaf for x, leaf in zip(xs, leaves, strict=True)]
        for step in steps:
            apply(unspool, step, live)
        total = sum(((t * t).sum() + t.sum() for t in live if t.is_floating_point()), unspool.zeros(()))
        if total.requires_grad:
            total.backward()
        return tuple(t.detach() for t in live)

    while True:
        try:
            program(*(unspool.tensor(rng.uniform(-1, 1, shape)) for shape in shapes))
        except (RuntimeError, IndexError, ValueError):
            last = max((i for i, step in enumerate(steps) if step.__qualname__.startswith("write")), default=None)
            del steps[-1 if last is None else last]
            continue
        return program, leaves, shapes


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=200)
@given(r=st.randoms(use_true_random=False))
def test_a_random_program_replays_to_the_bits(r: random.Random) -> None:
    program, leaves, shapes = _program(r)
    frozen = unspool.compile(program)
    rng = np.random.default_rng(1)
    for _ in range(4):
        xs = [unspool.tensor(rng.uniform(-1, 1, shape)) for shape in shapes]
        copies = [x.clone() for x in xs]
        try:
            expected = [*map(_bits, program(*xs)), *(None if p.grad is None else _bits(p.grad) for p in leaves)]
        except (RuntimeError, IndexError, ValueError):
            return  # of other numbers it is no program
        try:
            results = frozen(*copies)
        except PlanError as error:
            assert "reads a tensor" in str(error) or "operations" in str(error) or "call" in str(error)  # noqa: PT017
            return
        got = [*map(_bits, results), *(None if p.grad is None else _bits(p.grad) for p in leaves)]
        assert got == expected
        assert [_bits(x) for x in copies] == [_bits(x) for x in xs]


def test_most_random_programs_can_be_frozen() -> None:
    frozen = 0
    for seed in range(60):
        program, _, shapes = _program(random.Random(seed))
        compiled = unspool.compile(program)
        rng = np.random.default_rng(2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                for _ in range(2):
                    compiled(*(unspool.tensor(rng.uniform(-1, 1, shape)) for shape in shapes))
            except (RuntimeError, IndexError, ValueError):
                continue
        frozen += compiled.plans
    assert frozen >= 40


# ---- Results and gradients -----------------------------------------------------------------------------------------


def _frozen(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    compiled = unspool.compile(function)
    for _ in range(2):
        compiled(*args, **kwargs)
    assert compiled.plans == 1
    return compiled


def test_each_call_returns_tensors_of_its_own() -> None:
    double = _frozen(lambda x: x * 2, unspool.zeros(3))
    kept = [double(unspool.full((3,), float(i))) for i in range(5)]
    assert [t.tolist() for t in kept] == [[2.0 * i] * 3 for i in range(5)]


def test_a_gradient_that_is_held_keeps_its_numbers() -> None:
    w = nn.Parameter(unspool.ones(2))

    def step(x: Any) -> None:
        w.grad = None
        (w * x).sum().backward()

    frozen = _frozen(step, unspool.ones(2))
    frozen(unspool.tensor([1.0, 2.0]))
    held = w.grad
    frozen(unspool.tensor([3.0, 4.0]))
    assert held.tolist() == [1.0, 2.0]
    assert w.grad.tolist() == [3.0, 4.0]


def test_what_is_returned_may_be_an_argument_a_view_of_it_or_a_parameter() -> None:
    w = unspool.ones(2)
    frozen = _frozen(lambda x: (x, x[0], w, [w[1:], {"twice": x + x}]), unspool.zeros(2, 2))
    x = unspool.arange(4.0).reshape(2, 2)
    same, row, weight, (part, twice) = frozen(x)
    assert same is x
    row[0] = 7.0
    assert x[0, 0] == 7.0
    part.fill_(5.0)
    assert weight.tolist() == w.tolist() == [1.0, 5.0]
    assert twice["twice"].tolist() == [[0.0, 2.0], [4.0, 6.0]]


def test_writes_to_arguments_are_seen_and_counted() -> None:
    frozen = _frozen(lambda x: x.mul_(2).sum(), unspool.ones(3))
    x = unspool.ones(3)
    before = x._version
    frozen(x)
    assert x.tolist() == [2.0] * 3
    assert x._version > before


def test_a_parameter_that_a_graph_saved_is_known_to_be_overwritten() -> None:
    model = nn.Linear(2, 1)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    frozen = _frozen(_step("zero first", model, optimizer, nn.MSELoss()), unspool.ones(3, 2), unspool.zeros(3, 1))
    x = unspool.ones(3, 2, requires_grad=True)
    loss = model(x).sum()
    frozen(unspool.ones(3, 2), unspool.zeros(3, 1))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_scalars_empty_and_strided_arguments() -> None:
    for x in (unspool.tensor(2.0), unspool.zeros(0, 3), unspool.arange(12.0).reshape(3, 4).t()[1:]):
        frozen = _frozen(lambda x: (x.sum(), x * 3, x.t() if x.dim() == 2 else x.exp()), x)
        assert _bits(frozen(x)) == _bits((x.sum(), x * 3, x.t() if x.dim() == 2 else x.exp()))


# ---- Guards --------------------------------------------------------------------------------------------------------

SCALE = 2.0


def _scaled(x: Any) -> Any:
    return x * SCALE


def test_a_global_that_changes_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    frozen = _frozen(_scaled, unspool.ones(2))
    monkeypatch.setitem(globals(), "SCALE", 5.0)
    for _ in range(3):
        assert frozen(unspool.ones(2)).tolist() == [5.0, 5.0]
    assert frozen.plans == 2


def test_a_closure_value_that_changes_is_seen() -> None:
    factor = 2.0
    frozen = unspool.compile(lambda x: x * factor)
    for value in (2.0, 3.0, 2.0):
        factor = value
        for _ in range(3):
            assert frozen(unspool.ones(1)).item() == value


def test_modes_attributes_and_parameters_are_seen() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.factor = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5)), 1.0

        def forward(self, x: Any) -> Any:
            return self.inner(x) * self.factor

    model = Scaled()
    frozen = unspool.compile(model)
    x = unspool.ones(1, 2)

    def check() -> None:
        for _ in range(4):
            state = unspool.get_rng_state()
            expected = model(x).tolist()
            unspool.set_rng_state(state)
            assert frozen(x).tolist() == expected

    with unspool.no_grad():
        check()
        model.eval()
        check()
        model.factor = 3.0
        check()
        model.inner[0].weight.data = unspool.full((2, 2), 4.0)
        check()
        model.inner[0].weight = nn.Parameter(unspool.full((2, 2), 5.0))
        check()
        model.load_state_dict({k: v * 2 for k, v in model.state_dict().items()})
        check()
        model.inner[1] = nn.ReLU()
        check()
        model.register_forward_hook(lambda *_: unspool.zeros(1, 2))
        check()


def test_optimizers_settings_are_read_at_every_call_and_their_state_is_guarded() -> None:
    def run(freeze: bool) -> Any:
        unspool.manual_seed(0)
        model = nn.Linear(3, 2)
        optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        schedule = optim.lr_scheduler.StepLR(optimizer, 2, 0.5)
        step: Any = _step("zero first", model, optimizer, nn.MSELoss())
        if freeze:
            step = unspool.compile(step)
        for i in range(12):
            step(unspool.randn(4, 3), unspool.randn(4, 2))
            schedule.step()
            if i == 5:
                optimizer.load_state_dict(optimizer.state_dict())
            if i == 8:
                optimizer.state.clear()
            if i == 9:
                optimizer.param_groups[0]["momentum"] = 0.0
        return _bits(tuple(model.parameters()))

    assert run(True) == run(False)


def test_settings_and_state_that_change_in_place_are_seen() -> None:
    """No dict changes when a list or a tensor's memory does."""

    def trained(freeze: bool) -> list[Any]:
        unspool.manual_seed(0)
        net = nn.Linear(3, 2)
        opt = optim.Adam(net.parameters(), lr=0.1)
        opt.param_groups[0]["betas"] = [0.9, 0.99]
        sgd = optim.SGD(net.parameters(), lr=0.1, momentum=0.9)

        def step(x: Any) -> Any:
            opt.zero_grad()
            loss = net(x).square().mean()
            loss.backward()
            opt.step()
            sgd.step()
            return loss

        run = unspool.compile(step) if freeze else step
        seen = []
        for i in range(12):
            seen.append(run(unspool.full((4, 3), 0.5 + i)).item())
            if i == 7:
                opt.param_groups[0]["betas"][0] = 0.5
            if i == 9:
                state = sgd.state[net.weight]["momentum_buffer"]
                state.data = unspool.ones(2, 3)
        return [*seen, net.weight.tolist()]

    assert trained(True) == trained(False)


def test_shapes_dtypes_strides_and_aliasing_have_plans_of_their_own() -> None:
    frozen = unspool.compile(lambda a, b: a.add_(1) + b)
    x = unspool.zeros(2, 2)
    cases = [
        lambda: (unspool.zeros(2, 2), unspool.zeros(2, 2)),
        lambda: (unspool.zeros(3), unspool.zeros(3)),
        lambda: (unspool.zeros(3, dtype=unspool.float64), unspool.zeros(3)),
        lambda: (unspool.zeros(2, 2).t(), unspool.zeros(2, 2)),
        lambda: (x.zero_(), x),
        lambda: (x.zero_(), x.t()),
        lambda: (x.zero_()[0], x[1]),
    ]
    for _ in range(4):
        for case in cases:
            a, b = case()
            expected = (a.clone().add_(1) + (b + 1 if a.data_ptr() == b.data_ptr() else b)).tolist()
            assert frozen(a, b).tolist() == expected


def test_slices_of_one_tensor_share_a_plan() -> None:
    def function(x: Any) -> Any:
        return (x * 2).exp().sum(0), x - x.mean()

    frozen = unspool.compile(function)
    x = unspool.randn(80, dtype=unspool.float64)
    for i in range(0, 70, 7):  # also off the places that vector loads are aligned to
        part = x[i : i + 10]
        assert _bits(frozen(part)) == _bits(function(part))
    assert frozen.plans == 1
    for plans, other in ((2, x.float()), (3, x[::2])):
        for i in range(4):
            part = other[i : i + 10]
            assert _bits(frozen(part)) == _bits(function(part))
        assert frozen.plans == plans


def test_gradient_modes_have_plans_of_their_own() -> None:
    layer = nn.Linear(2, 2)
    frozen = unspool.compile(lambda x: layer(x))
    with unspool.no_grad():
        _ = [frozen(unspool.ones(2)) for _ in range(3)]
    assert all(frozen(unspool.ones(2)).requires_grad for _ in range(3))
    assert frozen.plans == 2
    with unspool.no_grad():
        assert not frozen(unspool.ones(2)).requires_grad


# ---- What cannot be frozen -----------------------------------------------------------------------------------------


def _reads(x: Any) -> Any:
    if x.sum() > 0:  # this line is named
        return x
    return -x


@pytest.mark.parametrize(
    "function",
    [
        _reads,
        lambda x: x * x.sum().item(),
        lambda x: x + unspool.tensor(x.numpy()),
        lambda x: x + float(x[0]),
        lambda x: x.tolist(),
        lambda x: repr(x),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: np.asarray(x),
        lambda x: memoryview(x),
        lambda x: x.data_ptr(),
    ],
)
def test_a_value_that_python_reads_is_an_error(function: Any) -> None:
    frozen = unspool.compile(function)
    x = unspool.tensor([1.0, 2.0])
    with pytest.raises((PlanError, BufferError), match=r"test_compile\.py|being frozen"):
        frozen(x)
    assert frozen.plans == 0
    assert (x + 1).tolist() == [2.0, 3.0]  # nothing is left of the capture


def test_the_error_names_the_line_and_the_way_out() -> None:
    with pytest.raises(PlanError, match=rf"test_compile\.py:{_reads.__code__.co_firstlineno + 1}.*fallback"):
        unspool.compile(_reads)(unspool.ones(2))


def test_a_fallback_says_so_once() -> None:
    frozen = unspool.compile(_reads, fallback="eager")
    with pytest.warns(UserWarning, match=r"test_compile\.py.*eagerly from now on"):
        assert frozen(-unspool.ones(1)).tolist() == [1.0]
    assert frozen(-unspool.ones(1)).tolist() == [1.0]
    assert frozen.plans == 0


def test_other_numbers_in_the_second_call_are_an_error() -> None:
    numbers = iter([1.0, 2.0])
    frozen = unspool.compile(lambda x: x + unspool.tensor([next(numbers)]))
    frozen(unspool.ones(1))
    with pytest.raises(PlanError, match=r"other numbers in the second call.*argument"):
        frozen(unspool.ones(1))


def test_another_program_in_the_second_call_is_an_error() -> None:
    calls: list[int] = []

    def function(x: Any) -> Any:
        calls.append(0)
        return x.exp() if len(calls) == 1 else x.sin()

    frozen = unspool.compile(function)
    frozen(unspool.ones(1))
    with pytest.raises(PlanError, match=r"exp at .*test_compile\.py.* sin at .*test_compile\.py"):
        frozen(unspool.ones(1))


def test_a_tensor_that_is_kept_is_an_error() -> None:
    kept: list[Any] = []

    def function(x: Any) -> Any:
        kept.append(x * 2)
        return x + 1

    with pytest.raises(PlanError, match=r"test_compile\.py.*lives on after the call"):
        unspool.compile(function)(unspool.ones(1))


def test_bad_arguments_are_errors() -> None:
    with pytest.raises(TypeError, match="expected a function or a module, got int"):
        unspool.compile(3)
    with pytest.raises(ValueError, match='fallback must be None or "eager", got 1'):
        unspool.compile(_scaled, fallback=1)
    with pytest.raises(PlanError, match=r"hashable values, got .* of type set"):
        unspool.compile(lambda x: x)({1})
    with pytest.raises(PlanError, match="sets the gradient of an argument; leave backward outside"):
        unspool.compile(lambda x: (x * 2).sum().backward())(unspool.ones(1, requires_grad=True))
    with pytest.raises(PlanError, match="has no plan yet"):
        unspool.compile(_scaled).explain()
    inner = unspool.compile(_scaled)
    with pytest.raises(PlanError, match="called by another that is being frozen"):
        unspool.compile(lambda x: inner(x) + 1)(unspool.ones(1))


def test_an_exception_in_a_recording_leaves_all_as_it_was() -> None:
    fails = True

    def function(x: Any) -> Any:
        y = x * 2
        if fails:
            raise KeyError("here")
        return y

    frozen = unspool.compile(function)
    with pytest.raises(KeyError):
        frozen(unspool.ones(1))
    fails = False
    for _ in range(3):
        assert frozen(unspool.ones(1)).item() == 2.0
    assert frozen.plans == 1


def test_a_bad_label_in_a_replay_raises_what_the_eager_call_raises() -> None:
    model = nn.Linear(2, 3)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    x, y = unspool.randn(4, 2), unspool.tensor([0, 1, 2, 0])
    frozen = _frozen(_step("zero first", model, optimizer, nn.CrossEntropyLoss()), x, y)
    before = _bits(tuple(model.parameters()))
    with pytest.raises(IndexError, match="Target 7 is out of bounds"):
        frozen(x, unspool.tensor([0, 1, 7, 0]))
    assert _bits(tuple(model.parameters())) == before
    table = unspool.randn(5, 2)
    look = _frozen(lambda i: table[i], unspool.tensor([0, 1]))
    with pytest.raises(IndexError, match="index 9 is out of bounds"):
        look(unspool.tensor([0, 9]))
    frozen(x, y)


# ---- Threads and memory --------------------------------------------------------------------------------------------


def test_threads_replay_their_own_plans_to_the_serial_bits() -> None:
    def work(seed: int, out: dict[int, Any]) -> None:
        generator = unspool.Generator().manual_seed(seed)
        model = nn.Linear(6, 3)
        with unspool.no_grad():
            for p in model.parameters():
                p.normal_(generator=generator)
        step = unspool.compile(_step("zero first", model, optim.Adam(model.parameters()), nn.MSELoss()))
        for _ in range(200):
            step(unspool.randn(5, 6, generator=generator), unspool.randn(5, 3, generator=generator))
        out[seed] = _bits(tuple(model.parameters()))

    serial: dict[int, Any] = {}
    for seed in range(8):
        work(seed, serial)
    together: dict[int, Any] = {}
    threads = [threading.Thread(target=work, args=(seed, together)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == serial


def test_one_plan_may_be_called_by_several_threads() -> None:
    frozen = _frozen(lambda x: (x * 2).exp().sum(), unspool.ones(1000))
    wrong: list[Any] = []

    def work(value: float) -> None:
        x = unspool.full((1000,), value)
        expected = (x * 2).exp().sum().item()
        wrong.extend(got for _ in range(300) if (got := frozen(x).item()) != expected)

    threads = [threading.Thread(target=work, args=(i / 10,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_replays_allocate_nothing_and_temporaries_share_memory() -> None:
    net = nn.Sequential(*(layer for _ in range(8) for layer in (nn.Linear(32, 32), nn.Tanh())))
    x = unspool.randn(16, 32)
    with unspool.no_grad():
        frozen = _frozen(net, x)
        frozen(x)
        before = unspool.memory_stats()["system_calls"]
        for _ in range(100):
            frozen(x)
        assert unspool.memory_stats()["system_calls"] == before
    memory = frozen.memory()
    assert memory["temporaries"] == 15 * 16 * 32 * 4
    assert memory["arena"] == 2 * 16 * 32 * 4  # one layer's input and its result


def test_the_plan_tells_what_it_runs() -> None:
    model = Separate()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    step = _step("zero first", model, optimizer, nn.MSELoss())
    frozen = _frozen(step, unspool.zeros(5, 6), unspool.zeros(5, 3))
    text = frozen.explain()
    assert text == frozen.explain()
    lines = text.splitlines()
    assert "linear_relu(x0(5, 6)" in lines[0]
    assert "of 2 operations" in lines[0]
    assert f"{2 * 5 * 6 * 8} flop" in lines[0]
    assert "test_compile.py" in lines[0]
    assert sum("sgd_update" in line for line in lines) == 4
    assert "relu_backward" not in text
    assert lines[-1].startswith(f"{len(lines) - 1} instructions, ")


def test_dead_results_are_not_computed() -> None:
    def function(x: Any) -> Any:
        x.exp().sum()
        return x + 1

    frozen = _frozen(function, unspool.ones(3))
    assert "exp" not in frozen.explain()
    assert "1 instructions" in frozen.explain()


def test_random_numbers_come_from_the_stream_also_where_nobody_reads_them() -> None:
    def function(x: Any) -> Any:
        unspool.rand(3)
        return x + unspool.randn(2), unspool.randperm(5)

    frozen = unspool.compile(function)
    unspool.manual_seed(1)
    expected = [_bits(function(unspool.zeros(2))) for _ in range(5)]
    unspool.manual_seed(1)
    assert [_bits(frozen(unspool.zeros(2))) for _ in range(5)] == expected


def test_compile_is_a_decorator() -> None:
    @unspool.compile
    def plain(x: Any) -> Any:
        """Twice."""
        return x * 2

    @unspool.compile(fallback="eager")
    def loose(x: Any) -> Any:
        return x * 3

    assert plain.__doc__ == "Twice."
    assert [plain(unspool.ones(1)).item() for _ in range(3)] == [2.0] * 3
    assert [loose(unspool.ones(1)).item() for _ in range(3)] == [3.0] * 3
    assert plain.plans == loose.plans == 1


# ---- Chains of elementwise operations --------------------------------------------------------------------------------


def _smooth(x: Any, y: Any) -> Any:
    return (unspool.exp(-x * x) * 2 + y.abs()) / (1 + (x * y).abs()) - unspool.tanh(y)


def _branches(x: Any, y: Any) -> Any:
    larger = (x > y) & (x > 0)
    return larger, unspool.where(larger, x, y) * 3


def _inplace(x: Any, y: Any) -> Any:
    z = x * 2
    z += y
    z.mul_(z).sub_(1)
    z.view(-1).abs_()
    return z, z.sqrt()


def _shifted(x: Any, y: Any) -> Any:
    # A later step reads what an earlier one writes, at other elements: no block has both.
    z = x + 1
    z[1:] *= y[:-1]
    return z.neg() + z.abs(), z[:-1] - z[1:]


def _single(x: Any, y: Any) -> Any:
    scale = unspool.full((), 3.0, dtype=x.dtype) * 2
    return x * scale + y[0] * x


_CHAINS: list[Callable[..., Any]] = [_smooth, _branches, _inplace, _shifted, _single]


@pytest.mark.parametrize("n", [1, 2, 7, 2047, 2048, 2049, 4096, 70_001])
@pytest.mark.parametrize("chain", _CHAINS, ids=[f.__name__ for f in _CHAINS])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_chain_has_the_bits_of_its_operations(chain: Callable[..., Any], n: int, dtype: str) -> None:
    rng = np.random.default_rng(n)
    frozen = unspool.compile(chain)
    for round_ in range(4):
        x, y = (unspool.tensor(rng.standard_normal(n), dtype=getattr(unspool, dtype)) for _ in range(2))
        if round_ == 3:
            x[0], y[-1] = float("nan"), float("inf")
        expected = chain(x, y)
        results = frozen(x, y)
        for e, r in zip(*(t if isinstance(t, tuple) else (t,) for t in (expected, results)), strict=True):
            assert _bits(e) == _bits(r)
    assert frozen.plans == 1
    assert "+" in frozen.explain()


@pytest.mark.parametrize("n", [4096, 70_001])
def test_threads_share_a_chain(n: int) -> None:
    x, y = unspool.randn(n), unspool.randn(n)
    frozen = unspool.compile(_smooth)
    expected = _bits(_smooth(x, y))
    threads, threshold = unspool.get_num_threads(), _core._set_parallel_threshold(0)
    try:
        for count in (1, 2, 3):
            unspool.set_num_threads(count)
            assert all(_bits(frozen(x, y)) == expected for _ in range(4))
    finally:
        unspool.set_num_threads(threads)
        _core._set_parallel_threshold(threshold)


def test_backward_of_a_chain_is_one() -> None:
    w = unspool.randn(3000, requires_grad=True)

    def step(x: Any) -> Any:
        w.grad = None
        loss = (unspool.tanh(w * x) * x + unspool.sigmoid(w)).sum()
        loss.backward()
        return loss.detach()

    frozen = unspool.compile(step)
    for _ in range(4):
        x = unspool.randn(3000)
        expected, grad = _bits(step(x)), _bits(w.grad)
        assert _bits(frozen(x)) == expected
        assert _bits(w.grad) == grad
    text = frozen.explain()
    assert "mul+tanh+mul" in text
    assert "elementwise_backward+" in text


def test_a_repeated_step_is_as_many_calls() -> None:
    torch_state = unspool.get_rng_state()
    seen = []
    for repeats in (False, True):
        unspool.set_rng_state(torch_state)
        model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2))
        optimizer = unspool.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        x, y = unspool.randn(6, 4), unspool.randn(6, 2)

        @unspool.compile
        def step(x: Any, y: Any, model: Any = model, optimizer: Any = optimizer) -> Any:
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
            return loss

        last = step.repeat(150, x, y) if repeats else [step(x, y) for _ in range(150)][-1]
        seen.append([_bits(last), *map(_bits, model.parameters()), _bits(unspool.rand(3))])
    assert seen[0] == seen[1]
    for times in (0, -1, True, 2.0, "3"):
        with pytest.raises(ValueError, match="repeat: times must be an int of at least 1"):
            step.repeat(times, x, y)


# ---- A loss and its gradient -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 511, 513, 5000, 300_000])
@pytest.mark.parametrize("kind", ["mse mean", "mse sum", "cross entropy", "smoothed"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_loss_with_its_gradient_has_the_bits_of_both(n: int, kind: str, dtype: str) -> None:
    d = getattr(unspool, dtype)
    w = unspool.ones(n if kind.startswith("mse") else (n // 8 + 1, 8), dtype=d, requires_grad=True)

    def loss_of(y: Any, target: Any) -> Any:
        if kind.startswith("mse"):
            return F.mse_loss(y, target, reduction=kind[4:])
        return F.cross_entropy(y, target, label_smoothing=0.1 if kind == "smoothed" else 0.0, ignore_index=2)

    def step(x: Any, target: Any) -> Any:
        w.grad = None
        loss = loss_of(w * x, target)
        (loss * 3).backward()
        return loss

    frozen = unspool.compile(step)
    for _ in range(4):
        x = unspool.randn(w.shape, dtype=d)
        target = unspool.randn(n, dtype=d) if kind.startswith("mse") else unspool.randint(0, 8, (w.shape[0],))
        expected, grad = _bits(step(x, target)), _bits(w.grad)
        assert _bits(frozen(x, target)) == expected
        assert _bits(w.grad) == grad
    assert "_with_gradient" in frozen.explain()


def test_a_loss_that_is_read_before_its_gradient_is_not_joined() -> None:
    w = unspool.ones(6, requires_grad=True)

    def step(x: Any, kept: Any) -> Any:
        w.grad = None
        loss = F.mse_loss(w * x, x * 2)
        kept += loss.detach()
        loss.backward()
        return loss.detach()

    frozen = unspool.compile(step)
    for _ in range(4):
        x, kept, copy = unspool.randn(6), unspool.zeros(1), unspool.zeros(1)
        expected, grad = _bits(step(x, kept)), _bits(w.grad)
        assert (_bits(frozen(x, copy)), _bits(w.grad), _bits(copy)) == (expected, grad, _bits(kept))
    assert "_with_gradient" not in frozen.explain()


# ---- A gradient and the update it is for -----------------------------------------------------------------------------

_UPDATES: dict[str, Callable[..., Any]] = {
    "SGD": lambda ps: optim.SGD(ps, lr=0.01),
    "momentum": lambda ps: optim.SGD(ps, lr=0.01, momentum=0.9, weight_decay=0.1, nesterov=True),
    "Adam": lambda ps: optim.Adam(ps, lr=0.01, amsgrad=True),
    "AdamW": lambda ps: optim.AdamW(ps, lr=0.01),
    "RMSprop": lambda ps: optim.RMSprop(ps, lr=0.01, momentum=0.5, centered=True),
}


def _updating(optimizer: str, dtype: Any, freeze: bool, sizes: tuple[int, ...], batch: int) -> tuple[Any, str]:
    unspool.manual_seed(0)
    layers = [part for n, m in itertools.pairwise(sizes) for part in (nn.Linear(n, m), nn.ReLU())][:-1]
    model = nn.Sequential(*layers).to(dtype)
    opt = _UPDATES[optimizer](model.parameters())
    schedule = optim.lr_scheduler.StepLR(opt, 1, 0.5)

    def step(x: Any, y: Any) -> Any:
        loss = F.mse_loss(model(x), y)
        loss.backward()
        opt.step()
        opt.zero_grad()
        return loss

    run = unspool.compile(step) if freeze else step
    seen = []
    for _ in range(5):
        x, y = unspool.randn(batch, sizes[0], dtype=dtype), unspool.randn(batch, sizes[-1], dtype=dtype)
        seen.append(_bits(run(x, y)))
        schedule.step()
    seen += [*map(_bits, model.parameters())]
    seen += [_bits(t) for s in opt.state.values() for t in s.values() if unspool.is_tensor(t)]
    return seen, run.explain() if freeze else ""


@pytest.mark.parametrize("optimizer", _UPDATES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sizes", [(3, 1, 5), (10, 40, 40, 5), (600, 700, 300)], ids=str)
def test_an_update_within_the_product_has_the_bits_of_both(optimizer: str, dtype: str, sizes: tuple[int, ...]) -> None:
    d = getattr(unspool, dtype)
    expected, _ = _updating(optimizer, d, False, sizes, 20)
    seen, text = _updating(optimizer, d, True, sizes, 20)
    assert seen == expected
    assert text.count("linear_backward+") == len(sizes) - 1
    threads, threshold = unspool.get_num_threads(), _core._set_parallel_threshold(0)
    try:
        unspool.set_num_threads(3)
        assert _updating(optimizer, d, True, sizes, 20)[0] == expected
    finally:
        unspool.set_num_threads(threads)
        _core._set_parallel_threshold(threshold)


@pytest.mark.parametrize("order", ["kept", "clipped", "shared", "read"])
def test_an_update_stays_where_its_gradient_or_weight_is_seen(order: str) -> None:
    def run(freeze: bool) -> tuple[Any, str]:
        unspool.manual_seed(0)
        first, second = nn.Linear(6, 6), nn.Linear(6, 6)
        if order == "shared":
            second.weight = first.weight
        params = list({id(p): p for p in (*first.parameters(), *second.parameters())}.values())
        opt = optim.SGD(params, lr=0.1, momentum=0.9)

        def step(x: Any) -> Any:
            loss = second(first(x)).square().mean()
            loss.backward()
            if order == "clipped":
                nn.utils.clip_grad_norm_(params, 1.0)
            before = second.weight.detach().sum() if order == "read" else loss.detach()
            opt.step()
            if order != "kept":
                opt.zero_grad()
            return loss.detach(), before

        run = unspool.compile(step) if freeze else step
        seen = [_bits(t) for _ in range(5) for t in run(unspool.randn(4, 6))]
        return [*seen, *map(_bits, params)], run.explain() if freeze else ""

    seen, text = run(True)
    assert seen == run(False)[0]
    assert text.count("linear_backward+") == {"kept": 0, "clipped": 0, "shared": 0, "read": 1}[order]
