"""Cases of the op table: every public op with each of its inputs and attributes in op_references.py.

A new op needs one line there and nothing here.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest

import unspool
from op_references import REFERENCES, Bools, Classes, Indices, Probabilities, Reference
from tolerances import assert_close
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
