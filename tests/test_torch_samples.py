"""PyTorch's own samples of its operators, run by both libraries.

PyTorch's test suite ships, for each operator, a generator of sample inputs: shapes with sizes of 0 and 1, 0-d tensors,
strides, broadcasts, keyword arguments. Every operator that unspool has under the same name runs on them, in six
dtypes: values, dtypes, shapes, first and second gradients must be PyTorch's, at PyTorch's own tolerances. It ships
malformed calls, too: each must raise here. What differs on purpose is in DIFFERENT and, of the two dtypes of 16 bits,
in DIFFERENT_HALVES, with the reason.
"""

from __future__ import annotations

import itertools
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import unspool
import unspool.nn.functional

try:
    import torch as reference
    from torch.testing._internal.common_methods_invocations import op_db
    from torch.testing._internal.common_utils import set_rng_seed
except ImportError:
    reference, op_db = None, []
HALVES = () if reference is None else (reference.float16, reference.bfloat16)

HALF_NAMES = ("float16", "bfloat16")
DTYPES = ("float64", "float32", *HALF_NAMES, "int64", "bool")
# Of each operator's samples, in the order of its generator: the first ones cover its arguments, later ones repeat
# them in other shapes.
SAMPLES = {"float64": 40, "float32": 16, "float16": 4, "bfloat16": 4, "int64": 16, "bool": 10}
SECOND = 8  # float64 samples of which second gradients are compared, too
SEED = 42  # PyTorch's wrappers of random operators set it, too
SECOND_SIZE = 200  # elements, for a second gradient
# PyTorch's defaults, torch.testing.assert_close, the absolute one relative to the largest element where that is
# above 1: sums of large terms that cancel are as good as the terms. Results of integers and bools are equal.
TOLERANCES = {
    "float64": (1e-7, 1e-7),
    "float32": (1.3e-6, 1e-5),
    # 4 steps of the dtype: a composite of several operations is rounded after each of them.
    "float16": (4e-3, 4e-3),
    "bfloat16": (3.2e-2, 3.2e-2),
}

# Name, or name and variant, of an operator: why it is left out.
DIFFERENT: dict[str, str] = {
    "empty": "its elements are not set",
    "empty_like": "its elements are not set",
    "new_empty": "its elements are not set",
    "new_empty_strided": "its elements are not set",
    "empty_strided": "its elements are not set",
    **dict.fromkeys(
        ("svd", "linalg.svd", "qr", "linalg.qr", "linalg.eigh", "svd_lowrank", "pca_lowrank"),
        "vectors have free signs; test_more_api.py compares what does not depend on them",
    ),
    **dict.fromkeys(("linalg.eig", "linalg.eigvals"), "there are no complex numbers"),
    **dict.fromkeys(
        ("cholesky_inverse", "cholesky_solve"), "the triangle that is not read has no gradient here; PyTorch's has one"
    ),
    "linalg.lstsq": "rank and residuals are those of PyTorch's drivers; test_more_api.py compares solutions",
    "as_strided.partial_views": "the samples' storages are larger than what is translated",
    "as_strided_scatter": "the samples' storages are larger than what is translated",
    "nn.functional.triplet_margin_with_distance_loss": "its samples pass PyTorch's own functions of distance",
    "linalg.norm.subgradients_at_zero": "at 0 the slope of a norm is 0 here, in PyTorch it is NaN for some orders",
    "norm.nuc": "linalg.matrix_norm has it",
    "zero_": "a method; PyTorch has it as a function, too, undocumented",
}


# Gradients of 0 that are differences of large terms, in float32.
LOOSER = {"nn.functional.layer_norm": 1e-2, "logcumsumexp": 1e-3, "nn.functional.ctc_loss": 1e-4}
# Indices may name a place twice: which element it takes has a derivative, which the sum of the derivatives is not.
TWICE = {f"nn.functional.max_unpool{n}d" for n in (1, 2, 3)}

# Which of equal elements comes first is not defined, in PyTorch either: their indices are not compared, and where the
# samples have many of them, in 16 bits, neither is which of them gets the gradient.
TIES = {"sort", "argsort", "topk", "kthvalue", "median", "mode", "msort"}
FEW_VALUES = ("int64", "bool", *HALF_NAMES)
# Name, or name and variant, and dtype where it is one of the two: what differs in float16 and bfloat16, and why.
DIFFERENT_HALVES: dict[str, str] = {
    "ldexp float16": "the factors 2^other of a gradient are summed in float32, in PyTorch each product is rounded",
    "nn.functional.normalize": "gradients of 0 that are differences of large terms",
    "nn.functional.soft_margin_loss float16": "PyTorch's e^x overflows, and its gradient is NaN",
    "nn.functional.hinge_embedding_loss bfloat16": "a sum of terms that cancel, each of them rounded",
    **dict.fromkeys(
        ("pow float16", "polygamma.polygamma_n_0 float16", "special.polygamma.special_polygamma_n_0 float16"),
        "gradients near the largest float16, which one of the two exceeds",
    ),
    "matrix_exp": "PyTorch's powers overflow, and it gives NaN",
    "logcumsumexp": "its gradient goes through the rounded result, here and in PyTorch, in another order",
}
# Calls that PyTorch refuses and unspool takes.
ACCEPTED = {
    "aminmax": "an out= of another floating dtype",
    "clamp_max": "a bound that is a number",
    "clamp_min": "a bound that is a number",
    "narrow": "a start that is a bool tensor",
    "narrow_copy": "a start that is a bool tensor",
    "pow": "two numbers",
}


# Of these the samples with an out= are taken, or refused otherwise: on memory of an input, which is written when all
# is computed; of another dtype that holds the result; a step of arange that is 0 in its dtype is a RuntimeError.
OUT_TAKEN = {
    "arange", "bernoulli", "cat", "gather", "index_select", "kthvalue", "masked_select", "multinomial", "take",
}  # fmt: skip


class Unsupported(Exception):
    """A sample needs a dtype or a layout that unspool does not have."""


def translated(x: Any) -> Any:
    """PyTorch's arguments as unspool's; tensors keep their strides."""
    if isinstance(x, reference.Tensor) and x.dtype in HALVES and x.layout == reference.strided:
        t = unspool.from_dlpack(x.detach().clone())
        return t.requires_grad_() if x.requires_grad else t
    if isinstance(x, reference.Tensor):
        if x.device.type != "cpu":
            raise Unsupported(str(x.device))
        dtype = str(x.dtype).rsplit(".", 1)[-1]
        if dtype not in (*DTYPES, "int32", "uint8") or x.layout != reference.strided or x.ndim > 8:
            raise Unsupported(str(x.dtype))
        array = x.detach().numpy()
        order = np.argsort([-k for k in x.stride()], kind="stable")
        dense = array.transpose(order).copy(order="C")
        t = unspool.from_numpy(dense.transpose(np.argsort(order)) if x.ndim else dense)
        return t.requires_grad_() if x.requires_grad else t
    if isinstance(x, reference.dtype):
        found = getattr(unspool, str(x).rsplit(".", 1)[-1], None)
        if found is None:
            raise Unsupported(str(x))
        return found
    if isinstance(x, (reference.Generator, reference.layout, reference.memory_format, complex)):
        raise Unsupported(repr(x))
    if isinstance(x, reference.device):
        return str(x)
    if isinstance(x, (list, tuple)):
        made = [translated(item) for item in x]
        return made if isinstance(x, list) else tuple(made)
    if isinstance(x, dict):
        return {k: translated(v) for k, v in x.items()}
    return x


def ours(op: Any) -> Any:
    """unspool's operator of that name, or PyTorch's lambda around it with `torch` standing for unspool."""
    f = op.op
    place: Any = unspool
    for part in op.name.split("."):
        place = getattr(place, part, None)
    if isinstance(f, types.FunctionType) and "torch/testing/_internal" in f.__code__.co_filename:
        missing = place is None and not hasattr(unspool.Tensor, op.name)
        names = {**f.__globals__, "torch": unspool}
        return None if missing else types.FunctionType(f.__code__, names, None, f.__defaults__, f.__closure__)
    return place if place is not None else getattr(unspool.Tensor, op.name, None)


def tensors(x: Any) -> list[Any]:
    """The results, or the arguments, in order; numbers stay among them."""
    if isinstance(x, dict):
        x = list(x.values())
    return [t for item in x for t in tensors(item)] if isinstance(x, (list, tuple)) else [x]


def wanting(x: Any, library: Any) -> list[Any]:
    return [t for t in tensors(x) if isinstance(t, library.Tensor) and t.requires_grad]


class Call:
    """A sample, or part of what is compared of it, as the text of an error: PyTorch's text of a tensor takes
    milliseconds, more than the comparison."""

    def __init__(self, op: Any, sample: Any, part: str = "") -> None:
        self.op, self.sample, self.part = op, sample, part

    def at(self, part: str) -> Call:
        return Call(self.op, self.sample, part)

    def __str__(self) -> str:
        sample = self.sample
        of = f"{sample.args!r:.200} {sample.kwargs!r:.200} of {sample.input!r:.300}"
        return f"{self.part}{': ' if self.part else ''}{self.op.name}{of}"


def same(actual: Any, expected: Any, dtype: str, what: Call) -> None:
    if not isinstance(expected, reference.Tensor):
        assert actual == expected or (actual != actual and expected != expected), what
        return
    assert isinstance(actual, unspool.Tensor), what
    assert str(actual.dtype).rsplit(".", 1)[-1] == str(expected.dtype).rsplit(".", 1)[-1], what
    assert tuple(actual.shape) == tuple(expected.shape), what
    if not expected.dtype.is_floating_point:
        rtol, atol = TOLERANCES.get(dtype, (0.0, 0.0))
    else:
        rtol, atol = TOLERANCES[str(expected.dtype).rsplit(".", 1)[-1]]
        actual, expected = actual.double(), expected.double()
    wanted = expected.numpy(force=True)
    finite = np.abs(wanted[np.isfinite(wanted)]) if expected.dtype.is_floating_point else np.zeros(0)
    atol = LOOSER.get(what.op.name, atol) if rtol > 1e-6 else atol
    atol *= max(1.0, float(finite.max(initial=0.0)))
    try:
        np.testing.assert_allclose(actual.detach().numpy(), wanted, rtol, atol)
    except AssertionError as error:
        raise AssertionError(f"{what}: {error}") from None


def gradients(library: Any, results: Any, arguments: Any, create_graph: bool) -> list[Any]:
    """Of the results' sum, weighed with numbers that tell elements and results apart; zeros where none flows."""
    xs = wanting(arguments, library)
    outputs, weights = [], []
    for i, y in enumerate(tensors(results)):
        if isinstance(y, library.Tensor) and y.requires_grad:
            outputs.append(y)
            rng = np.random.default_rng(i)
            weights.append(library.tensor(rng.uniform(0.5, 1.5, tuple(y.shape)), dtype=y.dtype))
    if not xs or not outputs:
        return [library.zeros_like(x) for x in xs]
    found = library.autograd.grad(outputs, xs, weights, create_graph=create_graph, allow_unused=True)
    return [library.zeros_like(x) if d is None else d for d, x in zip(found, xs, strict=True)]


def compare(op: Any, f: Any, sample: Any, dtype: str, second: bool) -> None:
    theirs = ((sample.input, *sample.args), sample.kwargs)
    mine = translated(theirs[0]), translated(theirs[1])
    what = Call(op, sample)
    reference.manual_seed(SEED)
    expected = op.op(*theirs[0], **theirs[1])
    unspool.manual_seed(SEED)
    try:
        actual = f(*mine[0], **mine[1])
    except NotImplementedError as error:
        if "singular values" in str(error):
            raise Unsupported(str(error)) from error
        raise
    a, b = tensors(actual), tensors(expected)
    assert len(a) == len(b), what
    for x, y in zip(a, b, strict=True):
        if not (op.name in TIES and dtype in FEW_VALUES and y.dtype == reference.int64):
            same(x, y, dtype, what)
    if op.name in TIES and dtype in FEW_VALUES:
        return
    if not wanting(expected, reference):
        assert not wanting(actual, unspool), what
        return
    small = sum(x.numel() for x in wanting(theirs, reference)) <= SECOND_SIZE
    second = second and small and op.supports_gradgrad
    first = gradients(unspool, actual, mine, second)
    wanted = gradients(reference, expected, theirs, second)
    for x, y in zip(first, wanted, strict=True):
        same(x, y, dtype, what.at("gradient"))
    if not second:
        return
    if named(op) not in TWICE:
        check_tangents(f, sample, what)
    # Where one library has a graph and the other a constant, the graph's gradients must be zero.
    for x, y in zip(gradients(unspool, first, mine, False), gradients(reference, wanted, theirs, False), strict=True):
        same(x, y, dtype, what.at("second gradient"))


def check_tangents(f: Any, sample: Any, what: Call) -> None:
    """The tangent sweep against the reverse sweep: u·(J v) = (Jᵀ u)·v."""
    arguments, keywords = translated((sample.input, *sample.args)), translated(sample.kwargs)
    unspool.manual_seed(SEED)
    xs = wanting((arguments, keywords), unspool)
    results = wanting(f(*arguments, **keywords), unspool)
    if not results or any(t.dtype != unspool.float64 for t in (results[0], *xs)):
        return
    y = results[0]
    rng = np.random.default_rng(3)
    v = [unspool.tensor(rng.uniform(-1, 1, tuple(x.shape)), dtype=x.dtype) for x in xs]
    u = unspool.tensor(rng.uniform(-1, 1, tuple(y.shape)), dtype=y.dtype)
    try:
        (tangent,) = unspool._core.jvp((y,), tuple(xs), tuple(v))
    except NotImplementedError:  # a call of autograd.Function has gradients alone
        assert op_is_python(y)
        return
    found = unspool.autograd.grad(y, xs, u, allow_unused=True)
    forward = float((u * tangent).sum())
    terms = [(g * d).detach().numpy() for g, d in zip(found, v, strict=True) if g is not None]
    backward = sum(float(t.sum()) for t in terms)
    scale = 1.0 + sum(float(np.abs(t).sum()) for t in terms)
    assert abs(forward - backward) <= 1e-9 * scale or forward != forward, what.at("tangent")


def op_is_python(y: Any) -> bool:
    """Whether a call of autograd.Function stands in the graph."""
    reached = [y.grad_fn]
    for f in reached:
        reached += [up for up, _ in f.next_functions if up is not None and up not in reached]
    return any(repr(f).startswith("<torch.autograd.function.") for f in reached)


def named(op: Any) -> str:
    return f"{op.name}.{op.variant_test_name}" if op.variant_test_name else op.name


def samples_of(op: Any, dtype: Any, grad: bool, most: int) -> Iterator[Any]:
    """The first of op.sample_inputs, which itself looks for the running test in the whole stack: 60 ms each time."""
    made = iter(op.sample_inputs_func(op, "cpu", dtype, grad))
    for _ in range(most):
        set_rng_seed()
        try:
            yield next(made)
        except StopIteration:
            return


def compared() -> list[Any]:
    return [
        pytest.param(op, dtype, id=f"{named(op)}-{dtype}")
        for op in op_db
        if ours(op) is not None and op.name not in DIFFERENT and named(op) not in DIFFERENT
        for dtype in DTYPES
        if getattr(reference, dtype) in op.dtypes
        and not (dtype in HALF_NAMES and {named(op), f"{named(op)} {dtype}"} & DIFFERENT_HALVES.keys())
    ]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("op", "dtype"), compared())
def test_a_sample_of_pytorch_gives_its_numbers(op: Any, dtype: str) -> None:
    kind = getattr(reference, dtype)
    grad = kind.is_floating_point and op.supports_autograd
    f = ours(op)
    for i, sample in enumerate(samples_of(op, kind, grad, SAMPLES[dtype])):
        try:
            compare(op, f, sample, dtype, second=dtype == "float64" and i < SECOND)
        except Unsupported:
            continue


@pytest.mark.skipif(reference is None, reason="PyTorch 2.13 is not installed (pip install '.[torch]')")
def test_the_samples_are_found() -> None:
    assert len(compared()) > 100


# Strides of results that are not PyTorch's: nothing that a program computes depends on these.
OTHER_STRIDES = {
    **dict.fromkeys(("__radd__", "__rmul__", "ldexp", "lerp"), "operands of several shapes decide in another order"),
    **dict.fromkeys(
        ("as_strided_scatter", "diagonal_scatter", "select_scatter", "slice_scatter"),
        "a copy of a tensor with gaps has none",
    ),
    **dict.fromkeys(
        (
            "cholesky_inverse",
            "linalg.lstsq",
            "linalg.lu_solve",
            "linalg.solve",
            "linalg.solve_ex",
            "linalg.solve_triangular",
            "lu_solve",
            "triangular_solve",
        ),
        "some are stored by rows",
    ),
    **{
        f"nn.functional.{kind}{n}d": "memory formats for images are not followed"
        for kind in (
            "adaptive_avg_pool",
            "adaptive_max_pool",
            "avg_pool",
            "conv",
            "conv_transpose",
            "max_pool",
            "max_unpool",
        )
        for n in (1, 2, 3)
    },
    "nn.functional.interpolate": "memory formats for images are not followed",
    "cat": "memory formats for images are not followed",
    "einsum": "an outer product",
}


def rearranged(x: Any, kind: str) -> Any:
    """The same values with other strides: first and last dim exchanged in memory, gaps, or the dims rotated."""
    if isinstance(x, (list, tuple)):
        return type(x)(rearranged(item, kind) for item in x)
    if isinstance(x, dict):
        return {k: rearranged(v, kind) for k, v in x.items()}
    if not isinstance(x, reference.Tensor) or x.layout != reference.strided or x.ndim < 2:
        return x
    x = x.detach()
    if kind == "exchanged":
        return x.transpose(0, -1).contiguous().transpose(0, -1)
    if kind == "gaps":
        return x.transpose(-1, -2).repeat_interleave(2, -1)[..., ::2].transpose(-1, -2)
    return x.permute(*range(1, x.ndim), 0).contiguous().permute(x.ndim - 1, *range(x.ndim - 1))


def with_strides(x: Any) -> Any:
    """`translated`, with gaps, too."""
    if isinstance(x, (list, tuple)):
        return type(x)(with_strides(item) for item in x)
    if isinstance(x, dict):
        return {k: with_strides(v) for k, v in x.items()}
    if not isinstance(x, reference.Tensor) or x.is_contiguous():
        return translated(x)
    span = 1 + sum((n - 1) * k for n, k in zip(x.shape, x.stride(), strict=True))
    return translated(x.as_strided((span,), (1,)).clone()).as_strided(tuple(x.shape), x.stride())


def steps(t: Any) -> tuple[int, ...]:
    return tuple(k for n, k in zip(t.shape, t.stride(), strict=True) if n != 1) if t.numel() else ()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("op", [p.values[0] for p in compared() if p.values[1] == "float32"], ids=named)
def test_a_result_lies_in_memory_as_pytorchs(op: Any) -> None:
    """Whether a later reshape or flatten shares memory depends on it, and with it what a write reaches."""
    f = ours(op)
    samples = list(samples_of(op, reference.float32, False, 10))
    for sample, kind in itertools.product(samples, ("as given", "exchanged", "gaps", "rotated")):
        theirs = ((sample.input, *sample.args), sample.kwargs)
        if kind != "as given":
            theirs = rearranged(theirs, kind)
        try:
            mine = with_strides(theirs)
        except Unsupported:
            continue
        what = Call(op, sample, kind)
        reference.manual_seed(SEED)
        try:
            expected = op.op(*theirs[0], **theirs[1])
        except RuntimeError:  # a view that these strides do not allow
            continue
        if sample.kwargs.get("sparse"):
            continue
        unspool.manual_seed(SEED)
        actual = f(*mine[0], **mine[1])
        for x, y in zip(tensors(actual), tensors(expected), strict=True):
            same(x, y, "float32", what)
            if isinstance(y, reference.Tensor) and op.name not in OTHER_STRIDES:
                assert steps(x) == steps(y), what


def malformed() -> list[Any]:
    return [
        pytest.param(op, id=named(op))
        for op in op_db
        if op.error_inputs_func is not None
        and ours(op) is not None
        and op.name not in DIFFERENT
        and op.name not in ACCEPTED
    ]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("op", malformed())
def test_what_pytorch_refuses_is_refused(op: Any) -> None:
    f = ours(op)
    for error in op.error_inputs("cpu"):
        sample = error.sample_input
        if op.name in OUT_TAKEN and "out" in sample.kwargs:
            continue
        try:
            arguments, keywords = translated((sample.input, *sample.args)), translated(sample.kwargs)
        except Unsupported:
            continue
        try:
            f(*arguments, **keywords)
        except (error.error_type, TypeError):
            continue
        pytest.fail(f"no error from {Call(op, sample, error.error_regex)}")
