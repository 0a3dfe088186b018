"""The op table, op by op, against NumPy and against central differences.

Start at CASES: every public op of the table with each of its inputs and attributes in op_references.py. A new op
needs one line there and nothing here.
"""

from __future__ import annotations

import doctest
import math
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest

import unspool
from op_references import (
    REFERENCES,
    Bools,
    Classes,
    Indices,
    Probabilities,
    Reference,
)
from test_torch_samples import op_db
from tolerances import TOLERANCES, assert_close
from unspool import _core

FUNCTION, METHOD, INPLACE = 1, 2, 4
REAL, POSITIVE, NONZERO = range(3)
# Ops that a test of their own compares with PyTorch, or ones that only spell such an op differently.
ELSEWHERE = {"_batch_norm_train"}  # test_normalization.py
TABLE: list[dict[str, Any]] = _core._op_schemas()
GRAD_SIZE = 24  # elements of an input above which derivatives are not tried: they are the same loops


def parameters(schema: str) -> list[str]:
    """The parameters' names; Options and the star are none."""
    inside = schema[schema.index("(") + 1 : schema.split(" -> ")[0].rindex(")")]
    names, depth, part = [], 0, ""
    for c in inside + ",":
        depth += (c in "[{(") - (c in "]})")
        if c == "," and depth == 0:
            name = part.split("=")[0].split()[-1] if part.strip() else ""
            if name not in ("", "*", "Options"):
                names.append(name)
            part = ""
        else:
            part += c
    return names


def key_of(entry: dict[str, Any]) -> str:
    schema = entry["schema"]
    key = f"{schema[: schema.index('(')]}({', '.join(parameters(schema))})"
    return f"{key} of two tensors" if "Operand exponent" in schema else key


PUBLIC = {key_of(e): e for e in TABLE if e["surface"]}


class Case(NamedTuple):
    key: str
    reference: Reference
    inputs: tuple[Any, ...]
    attributes: dict[str, Any]

    @property
    def entry(self) -> dict[str, Any]:
        return PUBLIC[self.key]

    @property
    def name(self) -> str:
        return self.key[: self.key.index("(")]

    @property
    def writes(self) -> bool:
        return self.name.endswith("_")

    @property
    def rng(self) -> np.random.Generator:
        return np.random.default_rng(zlib.crc32(repr((self.key, self.inputs, self.attributes)).encode()))


def cases(keep: Callable[[Case], Any]) -> list[Any]:
    found: list[Any] = []
    for key, reference in REFERENCES.items():
        for i, inputs in enumerate(reference.inputs):
            for j, attributes in enumerate(reference.attributes):
                case = Case(key, reference, inputs, attributes)
                if key in PUBLIC and keep(case):
                    found.append(pytest.param(case, id=f"{key}-{i}-{j}"))
    return found


def elements(rng: np.random.Generator, n: int, domain: int) -> Any:
    """n numbers of the domain, no two of them nearer than 0.01: ties and kinks are no place for differences."""
    steps = rng.permutation(4 * n + 8)[:n] + 0.5 + rng.uniform(-0.2, 0.2, n)
    spread = steps / (4 * n + 8)
    if domain == POSITIVE:
        return 0.5 + 1.5 * spread
    signed = 4 * spread - 2
    if domain == NONZERO:
        return signed + np.copysign(0.5, signed)
    return signed


def draw(case: Case, dtype: str, *, position: int, rng: np.random.Generator) -> Any:
    slot = case.inputs[position]
    if slot is None:
        return None
    if isinstance(slot, Bools):
        return rng.random(slot.shape) < 0.5
    if isinstance(slot, (Indices, Classes)):
        index = np.asarray(rng.integers(0, slot.n, slot.shape))
        if isinstance(slot, Classes):
            index.reshape(-1)[-1] = -100
        return index
    if isinstance(slot, Probabilities):
        p = rng.random(slot.shape) + 0.1
        return (p / p.sum(axis=0 if p.ndim == 1 else 1, keepdims=True)).astype(dtype)
    size = math.prod(slot)
    domain = case.entry["domain"]
    if dtype == "bool":
        values = np.ones(size) if domain in (POSITIVE, NONZERO) else rng.integers(0, 2, size)
    elif np.dtype(dtype).kind in "iu":
        low = 1 if domain in (POSITIVE, NONZERO) or dtype == "uint8" else -9
        values = rng.integers(low, 5, size)
    else:
        values = elements(rng, size, domain)
        if case.name == "remainder":  # its jumps: quotients between whole numbers
            values = values * (7.3 if position == 0 else 1.0)
    return values.reshape(slot).astype(dtype)


def drawn(case: Case, dtype: str) -> list[Any]:
    rng = case.rng
    arrays = [draw(case, dtype, position=i, rng=rng) for i in range(len(case.inputs))]
    if case.name == "remainder" and np.dtype(dtype).kind == "f" and arrays[0].size and arrays[1].size:
        # A quotient within 0.1 of a whole number stands on the jump: divisors grow until none is.
        for _ in range(100):
            q = arrays[0] / arrays[1]
            if (np.abs(q - np.round(q)) > 0.02).all():
                break
            arrays[1] = (arrays[1] * 1.01).astype(dtype)
    return arrays


def laid_out(array: Any, layout: str) -> Any:
    """The same numbers as a tensor with other strides."""
    if array is None:
        return None
    if layout == "transposed" and array.ndim > 1:
        return unspool.from_numpy(np.ascontiguousarray(array.T)).permute(*reversed(range(array.ndim)))
    if layout == "sliced" and array.ndim:
        wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1] + 1), array.dtype)
        wide[..., 1::2] = array
        return unspool.from_numpy(wide)[..., 1::2]
    return unspool.tensor(array)


LAYOUTS = ("contiguous", "transposed", "sliced")


def callables(case: Case) -> Iterator[Callable[..., Any]]:
    """The op as function and as method, where it is one, each taking the tensors."""
    surface, attributes = case.entry["surface"], case.attributes
    if surface & FUNCTION:
        function = getattr(_core, case.name)
        if case.name in ("cat", "stack"):
            yield lambda *xs: function(list(xs), **attributes)
        else:
            yield lambda *xs: function(*xs, **attributes)
    if surface & METHOD:
        yield lambda x, *xs: getattr(x, case.name)(*xs, **attributes)


def run(case: Case, *xs: Any) -> Any:
    """The first form of the op; a write goes into a copy."""
    op = next(callables(case))
    return op(xs[0].clone(), *xs[1:]) if case.writes else op(*xs)


def expected(case: Case, arrays: list[Any]) -> Any:
    assert case.reference.numpy is not None
    with np.errstate(all="ignore"):
        return case.reference.numpy(*(a for a in arrays if a is not None), **case.attributes)


def check_value(case: Case, actual: Any, wanted: Any) -> None:
    if isinstance(wanted, tuple):
        assert len(actual) == len(wanted)
        for a, w in zip(actual, wanted, strict=True):
            check_value(case, a, w)
        return
    got = actual.detach().numpy()
    assert_close(got, np.asarray(wanted).astype(got.dtype), what=case.key)


# ---- The walk ------------------------------------------------------------------------------------


def test_every_public_op_has_a_reference() -> None:
    """A NumPy line, or PyTorch's own samples: values, both gradients and tangents in test_torch_samples.py."""
    missing = sorted(set(PUBLIC) - set(REFERENCES))
    if missing and not op_db:
        pytest.skip("PyTorch 2.13 is not installed (pip install '.[torch]')")
    sampled = {op.name.rsplit(".", 1)[-1] for op in op_db} | ELSEWHERE
    missing = [key for key in missing if key[: key.index("(")] not in sampled]
    assert not missing, f"no NumPy reference in tests/op_references.py, and no sample of PyTorch, for {missing}"
    unknown = sorted(set(REFERENCES) - set(PUBLIC))
    assert not unknown, f"references for ops that are not in the table: {unknown}"


def test_every_public_op_is_documented_and_there() -> None:
    for key, entry in PUBLIC.items():
        name = key[: key.index("(")]
        assert entry["doc"], key
        assert not entry["surface"] & FUNCTION or callable(getattr(_core, name, None)), key
        assert not entry["surface"] & METHOD or callable(getattr(_core.Tensor, name, None)), key
        if entry["surface"] & INPLACE:
            assert callable(getattr(_core.Tensor, name.rstrip("_") + "_", None)), key


@pytest.mark.parametrize("entry", [pytest.param(e, id=key_of(e)) for e in TABLE if e["doctest"]])
def test_doctest(entry: dict[str, Any]) -> None:
    test = doctest.DocTestParser().get_doctest(entry["doctest"], {"unspool": unspool}, entry["schema"], None, 0)
    assert test.examples
    text: list[str] = []
    result = doctest.DocTestRunner(verbose=False).run(test, out=text.append)
    assert result.failed == 0, "".join(text)


@pytest.mark.parametrize("case", cases(lambda c: c.reference.numpy is not None))
def test_forward_is_numpys(case: Case) -> None:
    creates = not case.inputs
    for dtype in case.reference.dtypes:
        arrays = drawn(case, dtype)
        wanted = expected(case, arrays)
        for layout in LAYOUTS[: 1 if creates else 3]:
            xs = [laid_out(a, layout) for a in arrays if a is not None]
            if case.name == "view" and layout != "contiguous":
                continue  # raises where strides do not allow it; test_views.py
            for op in callables(case):
                if case.writes:
                    target = xs[0].clone()
                    check_value(case, op(target, *xs[1:]), wanted)
                    check_value(case, target, wanted)
                    if layout != "contiguous":  # and into strided memory
                        strided = laid_out(arrays[0].copy(), layout)
                        check_value(case, op(strided, *xs[1:]), wanted)
                else:
                    check_value(case, op(*xs), wanted)
        if creates:
            break


@pytest.mark.parametrize("case", cases(lambda c: c.reference.numpy is None))
def test_result_without_a_formula(case: Case) -> None:
    unspool.manual_seed(0)
    assert case.reference.check is not None
    for dtype in case.reference.dtypes:
        arrays = drawn(case, dtype)
        xs = [laid_out(a, "contiguous") for a in arrays]
        y = run(case, *xs)
        assert tuple(y.shape) == (arrays[0].shape if arrays else tuple(case.attributes.get("size", y.shape)))
        assert case.reference.check(y.numpy()), case.key


@pytest.mark.parametrize("case", cases(lambda c: bool(c.entry["surface"] & INPLACE) and not c.writes))
def test_in_place_equals_functional(case: Case) -> None:
    for dtype in case.reference.dtypes:
        arrays = drawn(case, dtype)
        for layout in LAYOUTS:
            xs = [laid_out(a, layout) for a in arrays]
            y = run(case, *xs)
            target = xs[0].clone() if layout == "contiguous" else laid_out(arrays[0].copy(), layout)
            call = getattr(target, case.name + "_")
            pointer, version = target.data_ptr(), target._version
            if y.shape != target.shape or (y.is_floating_point() and not target.is_floating_point()):
                with pytest.raises(RuntimeError):  # ShapeError and DTypeError are RuntimeErrors
                    call(*xs[1:], **case.attributes)
                assert np.array_equal(target.numpy(), xs[0].numpy()), "the target changed"
                assert target._version == version
                continue
            assert call(*xs[1:], **case.attributes) is target
            assert (target.data_ptr(), target._version) == (pointer, version + 1)
            np.testing.assert_array_equal(target.numpy(), y.numpy().astype(target.numpy().dtype))


# ---- Derivatives ---------------------------------------------------------------------------------


def differentiable(case: Case) -> bool:
    if case.reference.numpy is None or not case.inputs or case.reference.refuses_backward:
        return False
    if not any(type(s) is tuple for s in case.inputs) or (case.entry["none"] and not case.entry["composite"]):
        return False
    if case.name.endswith("_like"):
        return False
    return all(math.prod(s if type(s) is tuple else s.shape) <= GRAD_SIZE for s in case.inputs if s is not None)


class Problem:
    """y = op(x…) in float64 as a function of its floating inputs, projected on a random cotangent."""

    def __init__(self, case: Case, layout: str) -> None:
        self.case, self.layout = case, layout
        self.arrays = drawn(case, "float64")
        self.active = [i for i, s in enumerate(case.inputs) if type(s) is tuple or isinstance(s, Probabilities)]
        rng = np.random.default_rng(7)
        self.u = unspool.tensor(np.asarray(rng.uniform(0.5, 1.5, tuple(self(self.tensors()).shape))))
        self.v = [unspool.tensor(np.asarray(rng.uniform(-1, 1, self.arrays[i].shape))) for i in self.active]

    def tensors(self, arrays: list[Any] | None = None, dtype: str = "float64") -> list[Any]:
        xs = [laid_out(a, self.layout) for a in arrays or self.arrays]
        for i in self.active:
            xs[i] = xs[i].to(getattr(unspool, dtype)).detach().requires_grad_()
        return xs

    def __call__(self, xs: list[Any]) -> Any:
        xs = [x for x in xs if x is not None]
        if self.case.name in ("max", "min") and "dim" in self.case.attributes:
            return run(self.case, *xs)[0]
        if self.case.name == "view":
            xs[0] = xs[0].contiguous()
        return run(self.case, *xs)

    def gradients(self, xs: list[Any], *, create_graph: bool, u: Any = None) -> list[Any]:
        wanted = [xs[i] for i in self.active]
        u = self.u if u is None else u
        found = unspool.autograd.grad(self(xs), wanted, u, create_graph=create_graph, allow_unused=True)
        return [unspool.zeros_like(x) if g is None else g for g, x in zip(found, wanted, strict=True)]

    def value(self, arrays: list[Any]) -> float:
        with unspool.no_grad():
            y = self(self.tensors(arrays)).detach().numpy()
        return math.fsum((y * self.u.numpy()).ravel())

    def slope(self, arrays: list[Any]) -> float:
        """⟨v, Jᵀu⟩ by the op's own gradient, which test_first_derivatives has checked."""
        found = self.gradients(self.tensors(arrays), create_graph=False)
        return math.fsum(x for g, v in zip(found, self.v, strict=True) for x in (g.numpy() * v.numpy()).ravel())

    def differences(self, f: Callable[[list[Any]], float]) -> list[Any]:
        """Central differences of order h⁴ of f by every element of every active input."""
        result = []
        for i in self.active:
            slopes = np.zeros(self.arrays[i].shape)
            for at in np.ndindex(slopes.shape):
                h = 1e-4

                def moved(step: float, i: int = i, at: Any = at) -> float:
                    arrays = [a if k != i else a.copy() for k, a in enumerate(self.arrays)]
                    arrays[i][at] += step
                    return f(arrays)

                slopes[at] = (8 * (moved(h) - moved(-h)) - (moved(2 * h) - moved(-2 * h))) / (12 * h)
            result.append(slopes)
        return result


def layouts_of(case: Case) -> tuple[str, ...]:
    """All for the strided kernels' sake; the third differs only where an input has more than one dim."""
    return LAYOUTS if any(type(s) is tuple and len(s) > 1 for s in case.inputs) else LAYOUTS[::2]


def assert_derivative(actual: list[Any], wanted: list[Any], scale: float, what: str) -> None:
    row = TOLERANCES["float64"]
    assert row.grad_rtol is not None
    assert row.grad_atol is not None
    for a, w in zip(actual, wanted, strict=True):
        np.testing.assert_allclose(a.numpy(), w, rtol=row.grad_rtol, atol=row.grad_atol * scale, err_msg=what)


@pytest.mark.parametrize("case", cases(differentiable))
def test_first_derivatives(case: Case) -> None:
    wanted = None
    for layout in layouts_of(case):
        problem = Problem(case, layout)
        if wanted is None:
            wanted = problem.differences(problem.value)
        scale = max(1.0, abs(problem.value(problem.arrays)))
        found = problem.gradients(problem.tensors(), create_graph=False)
        assert_derivative(found, wanted, scale, f"{case.key}, {layout}")


@pytest.mark.parametrize("case", cases(differentiable))
def test_second_derivatives(case: Case) -> None:
    wanted = None
    for layout in layouts_of(case):
        problem = Problem(case, layout)
        if wanted is None:
            wanted = problem.differences(problem.slope)
        xs = problem.tensors()
        pairs = zip(problem.gradients(xs, create_graph=True), problem.v, strict=True)
        slope = sum(((g * v).sum() for g, v in pairs), unspool.zeros((), dtype=unspool.float64))
        active = [xs[i] for i in problem.active]
        if slope.requires_grad:
            found = unspool.autograd.grad(slope, active, allow_unused=True)
        else:
            found = (None,) * len(active)
        found = [unspool.zeros_like(x) if g is None else g for g, x in zip(found, active, strict=True)]
        assert_derivative(found, wanted, max(1.0, abs(slope.item())), f"{case.key}, {layout}")


@pytest.mark.parametrize("case", cases(differentiable))
def test_tangents_are_the_transpose_of_gradients(case: Case) -> None:
    """⟨u, J v⟩ = ⟨Jᵀu, v⟩; and J v once more, as the gradient of ⟨v, Jᵀu⟩ by u."""
    for layout in layouts_of(case):
        problem = Problem(case, layout)
        xs = problem.tensors()
        y = problem(xs)
        (tangent,) = _core.jvp([y], [xs[i] for i in problem.active], problem.v)
        tangent = unspool.zeros_like(y) if tangent is None else tangent
        assert tangent.shape == y.shape
        left = math.fsum((tangent.detach().numpy() * problem.u.numpy()).ravel())
        right = problem.slope(problem.arrays)
        assert left == pytest.approx(right, rel=1e-11, abs=1e-11), f"{case.key}, {layout}"
        u = problem.u.clone().requires_grad_()
        pairs = zip(problem.gradients(xs, create_graph=True, u=u), problem.v, strict=True)
        slope = sum(((g * v).sum() for g, v in pairs), (u * 0).sum())
        (again,) = unspool.autograd.grad(slope, u)
        np.testing.assert_allclose(again.numpy(), tangent.detach().numpy(), rtol=1e-11, atol=1e-11, err_msg=case.key)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("case", cases(differentiable))
def test_fused_backward_equals_the_recorded_rule(case: Case, dtype: str) -> None:
    for layout in layouts_of(case):
        problem = Problem(case, layout)
        problem.u = problem.u.to(getattr(unspool, dtype))
        if dtype == "float32":
            problem.arrays = [a if a is None or a.dtype != np.float64 else a.astype("float32") for a in problem.arrays]
        fused = problem.gradients(problem.tensors(dtype=dtype), create_graph=False)
        taped = problem.gradients(problem.tensors(dtype=dtype), create_graph=True)
        for a, b in zip(fused, taped, strict=True):
            a, b = a.numpy(), b.detach().numpy()
            assert a.dtype == b.dtype == dtype
            if case.reference.bits:
                np.testing.assert_array_equal(a, b, err_msg=case.key)
            else:
                assert_close(a, b, what=case.key)


@pytest.mark.parametrize("case", cases(lambda c: differentiable(c) and not c.writes and c.entry["surface"] & INPLACE))
def test_gradient_in_place_equals_functional(case: Case) -> None:
    problem = Problem(case, "contiguous")
    xs = problem.tensors()
    if problem(xs).shape != xs[0].shape:
        return  # test_in_place_equals_functional has seen it refused
    wanted = problem.gradients(xs, create_graph=False)
    target = xs[0] * 1
    rest = [x for x in xs[1:] if x is not None]
    y = getattr(target, case.name + "_")(*rest, **case.attributes)
    found = unspool.autograd.grad(y, [xs[i] for i in problem.active], problem.u, allow_unused=True)
    for a, b in zip(found, wanted, strict=True):
        a = unspool.zeros_like(b) if a is None else a
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-14, atol=0, err_msg=case.key)


def without_derivative(case: Case) -> bool:
    return bool(case.entry["none"] and not case.entry["composite"]) and case.reference.dtypes[0] == "float32"


@pytest.mark.parametrize("case", cases(without_derivative))
def test_what_has_no_derivative_does_not_require_grad(case: Case) -> None:
    xs = [laid_out(a, "contiguous").requires_grad_() for a in drawn(case, "float64")]
    y = run(case, *xs)
    assert not y.requires_grad
    assert y.grad_fn is None
    with pytest.raises(RuntimeError, match="does not require grad"):
        y.sum().backward()


@pytest.mark.parametrize("case", cases(lambda c: c.reference.refuses_backward))
def test_refuses_backward(case: Case) -> None:
    xs = [laid_out(a, "contiguous").requires_grad_() for a in drawn(case, "float64")]
    with pytest.raises(RuntimeError, match=f"{case.name}.*not implemented"):
        run(case, *xs).sum().backward()
    target = xs[0] * 1
    if run(case, *xs).shape == target.shape:
        with pytest.raises(RuntimeError, match=f"{case.name}.*not implemented"):
            getattr(target, case.name + "_")(*xs[1:], **case.attributes).sum().backward()


# ---- Frozen against eager ------------------------------------------------------------------------


def tensors_of(result: Any) -> list[Any]:
    if unspool.is_tensor(result):
        return [result]
    return [t for part in result for t in tensors_of(part)] if isinstance(result, (tuple, list)) else []


def bits(t: Any) -> bytes | None:
    return None if t is None else t.detach().contiguous().numpy().tobytes()


def is_determined(case: Case) -> bool:
    return not case.name.startswith("empty")


@pytest.mark.parametrize("case", cases(is_determined))
def test_frozen_forward_has_the_bits_of_the_eager_one(case: Case) -> None:
    dtype = "int64" if case.name.startswith("bitwise") else "float64"

    def step(*xs: Any) -> Any:
        return tuple(tensors_of(run(case, *xs)))

    frozen = unspool.compile(step)
    for seed in range(4):
        results = []
        for function in (step, frozen):
            unspool.manual_seed(seed)
            results.append([bits(t) for t in function(*(laid_out(a, "contiguous") for a in drawn(case, dtype)))])
        assert results[0] == results[1]
    assert frozen.plans == 1


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("case", cases(differentiable))
def test_frozen_gradients_have_the_bits_of_the_eager_ones(case: Case, dtype: str) -> None:
    problem = Problem(case, "contiguous")
    leaves = [
        unspool.tensor(a if a.dtype != np.float64 else a.astype(dtype), requires_grad=i in problem.active)
        for i, a in enumerate(problem.arrays)
        if a is not None
    ]
    absent = [a is None for a in problem.arrays]

    def step(x: Any) -> Any:
        for leaf in leaves:
            leaf.grad = None
        given = iter(leaves)
        results = tensors_of(run(case, *(None if missing else next(given) for missing in absent)))
        loss = sum(((t * t).sum() * x for t in results if t.requires_grad), unspool.zeros(()))
        loss.backward()
        return loss.detach()

    frozen = unspool.compile(step)
    for seed in range(4):
        results = []
        for function in (step, frozen):
            unspool.manual_seed(seed)
            results.append([bits(function(unspool.tensor(0.5 + seed))), *(bits(leaf.grad) for leaf in leaves)])
        assert results[0] == results[1]
    assert frozen.plans == 1
