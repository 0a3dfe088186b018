"""What programs of others showed to be missing or to differ; each beside PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import unspool
import unspool.func
import unspool.nn.utils.rnn

torch = pytest.importorskip("torch", reason="PyTorch is the reference")
BOTH = (unspool, torch)


def close(ours: Any, theirs: Any, tolerance: float = 1e-5) -> None:
    assert tuple(ours.shape) == tuple(theirs.shape)
    assert str(ours.dtype) == str(theirs.dtype)
    np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=tolerance, atol=tolerance)


def test_a_split_into_more_parts_than_an_operations_list_holds() -> None:
    sizes = [1, 2, 0, 3, 1, 1, 1, 2, 1, 4, 1, 1, 2, 1, 1, 1, 1, 3]
    seen = []
    for m in BOTH:
        x = m.arange(float(2 * sum(sizes))).reshape(2, -1).requires_grad_()
        for parts in (x.split(sizes, 1), m.split(x, sizes, dim=-1), x.split_with_sizes(sizes, 1)):
            assert [tuple(p.shape) for p in parts] == [(2, n) for n in sizes]
        sum((i + 1) * p.sum() for i, p in enumerate(parts)).backward()
        seen.append((x.grad.tolist(), parts[-1].grad_fn.name(), parts[9].tolist()))
        with pytest.raises(RuntimeError):
            x.split([*sizes, 1], 1)
    assert seen[0] == seen[1]
    parts = unspool.zeros(20).split([2] * 10)
    parts[9].fill_(1)  # they are views
    assert parts[9]._base is not None


def test_sequences_that_end_at_more_than_eight_lengths() -> None:
    seen = []
    for m in BOTH:
        m.manual_seed(0)
        layer = m.nn.LSTM(3, 4, bidirectional=True)
        sequences = [m.randn(n, 3) for n in (12, 11, 10, 9, 7, 6, 5, 4, 3, 1)]
        output, (h, _) = layer(m.nn.utils.rnn.pack_sequence(sequences))
        h.sum().backward()
        seen.append((output.data, h, layer.weight_hh_l0.grad))
    for ours, theirs in zip(*seen, strict=True):
        close(ours, theirs)


_AUTOCAST: dict[str, Callable[[Any, Any, Any], Any]] = {
    "addmm": lambda m, a, b: m.addmm(a, a, b),
    "addmm of a bias": lambda m, a, b: m.addmm(a[0], a @ b, b),
    "baddbmm": lambda m, a, b: m.baddbmm(a[None], a[None], b[None]),
    "addbmm": lambda m, a, b: m.addbmm(a, a[None], b[None]),
    "addmv": lambda m, a, b: m.addmv(a[0], a, b[0]),
    "attention": lambda m, a, b: m.nn.functional.scaled_dot_product_attention(a[None], b[None], a[None]),
    "prelu": lambda m, a, b: m.nn.functional.prelu(a @ b, m.tensor([0.1])),
    "prod": lambda m, a, b: (a @ b).prod(),
    "prod of rows": lambda m, a, b: (a @ b).prod(1),
    "quantile": lambda m, a, b: m.quantile(a @ b, 0.5),
    "cdist": lambda m, a, b: m.cdist(a @ b, b),
    "inverse": lambda m, a, b: m.linalg.inv(a @ b + 9 * m.eye(4)),
    "singular values": lambda m, a, b: m.linalg.svdvals(a @ b),
    "trace": lambda m, a, b: m.trace(a @ b),
}


@pytest.mark.parametrize("name", list(_AUTOCAST))
def test_autocast_chooses_pytorchs_dtype(name: str) -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(4, 4)).astype(np.float32) for _ in range(2)]
    found = []
    for m in BOTH:
        a, b = (m.tensor(x, requires_grad=True) for x in arrays)
        with m.autocast("cpu", dtype=m.bfloat16):
            y = _AUTOCAST[name](m, a, b)
        y.float().sum().backward()
        assert b.grad is None or str(b.grad.dtype) == "torch.float32"
        found.append(y)
    ours, theirs = found
    assert str(ours.dtype) == str(theirs.dtype)
    close(ours.float(), theirs.float(), 0.15)  # sums of products that were rounded to 8 bits, and inverses of them


@pytest.mark.filterwarnings("ignore")  # PyTorch's, of its own parts
def test_a_linearised_function_is_recorded_once() -> None:
    calls = []

    def f(m: Any, x: Any, w: Any) -> Any:
        calls.append(m)
        return {"y": (x * w).sin(), "s": x.prod()}

    seen = []
    for m in BOTH:
        x, w = m.tensor([0.3, 1.0, -2.0]), m.tensor([2.0, 0.5, 1.0])
        y, push = m.func.linearize(lambda a, b, m=m: f(m, a, b), x, w)
        tangents = [push(m.ones(3), m.zeros(3)), push(m.zeros(3), m.tensor([1.0, 2.0, 3.0]))]
        seen.append([y["y"], y["s"], *(t[k] for t in tangents for k in ("y", "s"))])
    for ours, theirs in zip(*seen, strict=True):
        close(ours, theirs)
    assert calls.count(unspool) == 1
    with pytest.raises(ValueError, match="tangents"):
        unspool.func.linearize(unspool.sin, unspool.ones(2))[1](unspool.ones(2), unspool.ones(2))


@pytest.mark.parametrize("name", ["hann", "hamming", "blackman", "bartlett", "kaiser"])
def test_windows(name: str) -> None:
    for n in (0, 1, 2, 7, 8):
        for periodic in (True, False):
            ours, theirs = (getattr(m, f"{name}_window")(n, periodic=periodic) for m in BOTH)
            close(ours, theirs, 1e-6)


def test_an_incomplete_gamma_function_has_a_second_derivative() -> None:
    x = unspool.tensor([0.2, 1.5, 6.0], dtype=unspool.float64, requires_grad=True)
    a = unspool.tensor([0.7, 2.0, 3.0], dtype=unspool.float64)
    for f in (unspool.igamma, unspool.igammac):
        assert unspool.autograd.gradcheck(lambda t, f=f: f(a, t), (x,))
        assert unspool.autograd.gradgradcheck(lambda t, f=f: f(a, t), (x,))
    with pytest.raises(NotImplementedError, match="first argument"):
        unspool.igamma(a.requires_grad_(), x).sum().backward()


def test_low_rank_factors_make_the_matrix() -> None:
    unspool.manual_seed(0)
    exact = unspool.randn(9, 3) @ unspool.randn(3, 7)
    for a in (exact, exact.T):
        u, s, v = unspool.svd_lowrank(a, q=4)
        np.testing.assert_allclose((u * s @ v.T).numpy(), a.numpy(), atol=1e-4)
        u, s, v = unspool.pca_lowrank(a, q=3)
        np.testing.assert_allclose((u * s @ v.T).numpy(), (a - a.mean(0)).numpy(), atol=1e-4)


def test_layers_that_wait_for_their_input_draw_as_pytorchs() -> None:
    found = []
    for m in BOTH:
        m.manual_seed(3)
        n = m.nn
        net = n.Sequential(n.LazyConv2d(4, 3), n.LazyBatchNorm2d(), n.ReLU(), n.LazyConvTranspose2d(3, 2), n.Flatten())
        net.append(n.LazyLinear(5))
        before = repr(net)
        optimizer = m.optim.SGD(net[0].parameters() if m is torch else net.parameters(), lr=0.1)
        y = net(m.ones(2, 3, 6, 6))
        y.square().sum().backward()
        optimizer.step()
        found.append((before, repr(net), list(net.state_dict()), y, net[5].weight, net[1].running_var))
    assert found[0][:3] == found[1][:3]
    for ours, theirs in zip(found[0][3:5], found[1][3:5], strict=True):
        assert tuple(ours.shape) == tuple(theirs.shape)
    close(found[0][3], found[1][3])


def test_an_adaptive_softmax_is_pytorchs() -> None:
    found = []
    for m in BOTH:
        m.manual_seed(0)
        layer = m.nn.AdaptiveLogSoftmaxWithLoss(16, 20, [5, 10, 15], div_value=2.0, head_bias=True)
        x, y = m.randn(8, 16), m.tensor([0, 19, 4, 5, 10, 14, 15, 9])
        result = layer(x, y)
        result.loss.backward()
        found.append((repr(layer), layer.predict(x).tolist(), result.output, layer.log_prob(x), layer.head.weight.grad))
        with pytest.raises(ValueError, match="cutoffs"):
            m.nn.AdaptiveLogSoftmaxWithLoss(16, 20, [5, 5])
    assert found[0][:2] == found[1][:2]
    for ours, theirs in zip(found[0][2:], found[1][2:], strict=True):
        close(ours, theirs)


def test_parallel_layers_of_one_processor() -> None:
    layer = unspool.nn.DataParallel(unspool.nn.Linear(3, 2))
    assert list(layer.state_dict()) == list(torch.nn.DataParallel(torch.nn.Linear(3, 2)).state_dict())
    x = unspool.ones(4, 3)
    assert unspool.equal(layer(x), layer.module(x))


def test_parameters_with_and_without_names_are_told_apart() -> None:
    w, b = (unspool.nn.Parameter(unspool.ones(2)) for _ in range(2))
    with pytest.raises(ValueError, match="names"):
        unspool.optim.SGD([("w", w), b], lr=0.1)


@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("corners", [True, False])
def test_images_read_at_places_outside(mode: str, padding: str, corners: bool) -> None:
    rng = np.random.default_rng(1)
    image = rng.normal(size=(2, 3, 5, 4)).astype(np.float32)
    theta = rng.normal(size=(2, 2, 3)).astype(np.float32)
    found = []
    for m in BOTH:
        x, t = m.tensor(image, requires_grad=True), m.tensor(theta, requires_grad=True)
        grid = m.nn.functional.affine_grid(t, (2, 3, 6, 7), align_corners=corners)
        y = m.nn.functional.grid_sample(x, grid, mode, padding, corners)
        (y * m.linspace(0, 1, y.numel()).reshape(y.shape)).sum().backward()
        found.append((grid, y, x.grad, *(() if mode == "nearest" else (t.grad,))))
    for ours, theirs in zip(*found, strict=True):
        close(ours, theirs, 2e-4)


def test_the_ends_of_whole_numbers_are_whole() -> None:
    for a in ((4.3, -3, 5), (-2, 7.9, 7), (0.9, 10.2, 4)):
        assert unspool.linspace(*a, dtype=unspool.int64).tolist() == torch.linspace(*a, dtype=torch.int64).tolist()
    for a in ((0, 1.2, 5), (1.9, 3.5, 4)):
        assert unspool.logspace(*a, dtype=unspool.int64).tolist() == torch.logspace(*a, dtype=torch.int64).tolist()


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_a_number_by_a_tensor_is_its_reciprocal_times_the_number(dtype: str) -> None:
    """A division of 3 by x, rounded once, differs from that in the last bit for a third of all x."""
    numbers = np.random.default_rng(3).uniform(0.1, 10, 1000)
    ours, theirs = (3 / m.tensor(numbers, dtype=getattr(m, dtype)) for m in BOTH)
    assert ours.double().tolist() == theirs.double().tolist()
    shown = [repr((2 / m.tensor([3.0, 7.0], requires_grad=True)).grad_fn.next_functions)[:20] for m in BOTH]
    assert shown[0] == shown[1]


def test_incomplete_gamma_functions_keep_their_digits() -> None:
    """1 - P has none left where a is small, and neither sum ends where a is huge."""
    special = pytest.importorskip("scipy.special")
    a, x = np.meshgrid(
        [1e-300, 1e-20, 1e-9, 1e-3, 0.3, 0.999, 1.0, 2.5, 30.0, 1e4], [1e-300, 1e-20, 0.1, 0.9, 1.5, 3, 90]
    )
    for ours, theirs in ((unspool.special.gammainc, special.gammainc), (unspool.special.gammaincc, special.gammaincc)):
        found = ours(unspool.tensor(a), unspool.tensor(x)).numpy()
        np.testing.assert_allclose(found, theirs(a, x), rtol=2e-11, atol=1e-300)
        assert ours(unspool.tensor(1e18), unspool.tensor(1e18)).item() == pytest.approx(0.5, abs=1e-8)


_OF_NUMBERS = ("add", "sub", "mul", "div", "true_divide", "floor_divide", "remainder", "multiply", "subtract", "divide")
_OF_BITS = ("bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_left_shift", "bitwise_right_shift")


@pytest.mark.parametrize("name", _OF_NUMBERS + _OF_BITS)
def test_a_number_as_the_first_operand(name: str) -> None:
    """torch.mul(2, x) is the function of two tensors, the first of which takes the other's dtype where it can."""
    for number in (2, -3, 2.5, True):
        for values in ([1, 2, 3], [1.5, -2.5, 0.5], [True, False]):
            seen = []
            for m in BOTH:
                try:
                    y = getattr(m, name)(number, m.tensor(values))
                    seen.append(f"{y.dtype} {y.tolist()}")
                except (RuntimeError, TypeError):  # of PyTorch also NotImplementedError, a RuntimeError
                    seen.append("refused")
            assert seen[0] == seen[1], (number, values)
    alone = []
    for m in BOTH:
        try:
            alone.append(str(getattr(m, name)(7, 2).dtype))
        except TypeError:  # both are numbers
            alone.append("refused")
    assert alone[0] == alone[1]
    with pytest.raises(TypeError, match="argument 'input' must be a Tensor or a number, got '2'"):
        getattr(unspool, name)("2", unspool.ones(2))


def test_the_gradient_beside_a_number_as_the_first_operand() -> None:
    seen = []
    for m in BOTH:
        x = m.tensor([1.0, -2.0], requires_grad=True)
        (m.mul(3, x) + m.div(1, x) + m.sub(2, x, alpha=3) + m.add(2, x, alpha=0.5)).sum().backward()
        seen.append(x.grad.tolist())
    assert seen[0] == seen[1]


def test_differences_take_no_bool() -> None:
    for m in BOTH:
        i, b, f = m.tensor([1, 2]), m.tensor([True, False]), m.tensor([1.5, 2.5])
        calls: list[Callable[[], Any]] = [
            lambda i=i: i - True,
            lambda f=f, b=b: f - b,
            lambda b=b: b - 1.5,
            lambda b=b: 1 - b,
            lambda i=i: True - i,
            lambda i=i, b=b: i.sub_(b),
            lambda m=m, b=b: m.sub(1, b),
            lambda m=m, i=i: m.rsub(i, True),
            lambda b=b: b - b,
        ]
        for call in calls:
            with pytest.raises(RuntimeError, match="bool"):
                call()
        assert i.tolist() == [1, 2]


_SCHEDULES: dict[str, Callable[[Any, Any], Any]] = {
    "none": lambda s, o: None,
    "exponential": lambda s, o: s.ExponentialLR(o, 0.5),
    "steps": lambda s, o: s.StepLR(o, 2, 0.1),
    "cosine": lambda s, o: s.CosineAnnealingLR(o, 4),
    "lambda": lambda s, o: s.LambdaLR(o, lambda epoch: 1 / (1 + epoch)),
    "one after the other": lambda s, o: s.SequentialLR(o, [s.ConstantLR(o, 0.5, 2), s.ExponentialLR(o, 0.5)], [2]),
    "one cycle": lambda s, o: s.OneCycleLR(o, 0.1, total_steps=8, cycle_momentum=False),
}


@pytest.mark.parametrize("schedule", _SCHEDULES)
@pytest.mark.parametrize(
    "name",
    ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "Adamax", "NAdam", "RAdam", "ASGD", "Rprop", "LBFGS"],
)
def test_a_learning_rate_that_is_a_tensor(name: str, schedule: str) -> None:
    if name == "LBFGS" and schedule != "none":
        pytest.skip("PyTorch's keeps the tensor as the last step's length, which a schedule then changes")
    seen = []
    for m in BOTH:
        m.manual_seed(0)
        layer, rate = m.nn.Linear(3, 2), m.tensor(0.125)
        optimizer = getattr(m.optim, name)(layer.parameters(), lr=rate)
        scheduler = _SCHEDULES[schedule](m.optim.lr_scheduler, optimizer)
        rates = []

        def closure(layer: Any = layer, optimizer: Any = optimizer, m: Any = m) -> Any:
            optimizer.zero_grad()
            loss = layer(m.ones(4, 3)).square().sum()
            loss.backward()
            return loss

        for _ in range(5):
            optimizer.step(closure)
            if scheduler is not None:
                scheduler.step()
                rates.append([float(lr) for lr in scheduler.get_last_lr()])
        assert optimizer.param_groups[0]["lr"] is rate  # schedules write into it
        seen.append((layer.weight, layer.bias, rates))
    close(seen[0][0], seen[1][0])
    close(seen[0][1], seen[1][1])
    np.testing.assert_allclose(seen[0][2], seen[1][2], rtol=1e-6, atol=1e-9)


def test_what_is_no_learning_rate() -> None:
    for m in BOTH:
        parameters = m.nn.Linear(2, 2).parameters()
        with pytest.raises(ValueError, match="1-element"):
            m.optim.SGD(parameters, lr=m.tensor([0.1, 0.2]))
    with pytest.raises(ValueError, match="lr is -1"):
        unspool.optim.SGD(unspool.nn.Linear(2, 2).parameters(), lr=unspool.tensor(-1.0))


def test_a_frozen_step_says_that_it_can_not_read_a_rate_that_is_a_tensor() -> None:
    layer = unspool.nn.Linear(2, 2)
    optimizer = unspool.optim.SGD(layer.parameters(), lr=unspool.tensor(0.1))

    def step(x: Any) -> Any:
        optimizer.zero_grad()
        loss = layer(x).sum()
        loss.backward()
        optimizer.step()
        return loss

    frozen = unspool.compile(step)
    before = layer.weight.detach().clone()
    with pytest.raises(unspool.errors.PlanError, match="tensor"):
        frozen(unspool.ones(1, 2))
    assert unspool.equal(layer.weight, before)
    with pytest.warns(UserWarning, match="cannot be frozen"):
        unspool.compile(step, fallback="eager")(unspool.ones(1, 2))
    assert not unspool.equal(layer.weight, before)


_ENDS = (float("inf"), -float("inf"), float("nan"), 0.0, -0.0, 1.0, -1.0, 1e-45, -3.4e38)
_OF_ENDS: dict[str, Callable[[Any, Any], Any]] = {
    "frexp": lambda m, x: m.frexp(x)[0],
    "frexp's exponent": lambda m, x: m.where(x.isfinite(), m.frexp(x)[1], 0),
    "nextafter up": lambda m, x: m.nextafter(x, m.full_like(x, 2.0)),
    "nextafter down": lambda m, x: m.nextafter(x, m.full_like(x, -2.0)),
    "nextafter of bfloat16": lambda m, x: m.nextafter(x.bfloat16(), m.full_like(x, -2.0).bfloat16()).float(),
    "angle": lambda m, x: m.angle(x),
    "laguerre": lambda m, x: m.special.laguerre_polynomial_l(x, 3),
    "chebyshev of each degree": lambda m, x: m.special.chebyshev_polynomial_u(0.5, m.arange(-1, 9)),
    "a polynomial of a negative degree": lambda m, x: m.special.hermite_polynomial_h(x, -1),
    "a polynomial of integers": lambda m, x: m.special.legendre_polynomial_p(m.arange(3), 2),
}


@pytest.mark.parametrize("name", _OF_ENDS)
def test_numbers_at_the_ends_of_float32(name: str) -> None:
    ours, theirs = (_OF_ENDS[name](m, m.tensor(_ENDS)) for m in BOTH)
    close(ours, theirs)
    if "next" in name or "frexp" in name:  # zeros have signs
        assert np.array_equal(np.signbit(ours.numpy()), np.signbit(theirs.numpy()))


@pytest.mark.parametrize("sym", [True, False])
@pytest.mark.parametrize("name", unspool.signal.windows.__all__)
def test_windows_of_few_samples(name: str, sym: bool) -> None:
    settings = {"general_cosine": {"a": [0.5, 0.3, 0.2]}}.get(name, {})
    for n in range(6):
        ours, theirs = (getattr(m.signal.windows, name)(n, sym=sym, **settings) for m in BOTH)
        close(ours, theirs)


def test_a_degree_that_would_take_forever() -> None:
    with pytest.raises(ValueError, match=f"n must be at most 100000, got {2**40}"):
        unspool.special.legendre_polynomial_p(unspool.tensor([0.5], dtype=unspool.float64), 2**40)


def test_windows_that_can_not_be() -> None:
    windows = unspool.signal.windows
    for call, words in (
        (lambda: windows.hann(-1), "M=-1"),
        (lambda: windows.kaiser(3, beta=-1.0), "beta must be non-negative, got -1.0"),
        (lambda: windows.gaussian(3, std=0.0), "std must be positive, got 0.0"),
        (lambda: windows.exponential(3, center=1), "center must be None"),
        (lambda: windows.general_cosine(3, a=[]), "a must not be empty"),
        (lambda: windows.hann(3, dtype=unspool.float16), "float16"),
    ):
        with pytest.raises(ValueError, match=words):
            call()
