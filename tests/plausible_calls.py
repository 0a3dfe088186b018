"""Calls of public functions with arguments that fit: `one_call(random.Random)` makes one and says what is wrong.

Arguments follow the signature: tensors of one shape, or shapes that broadcast or multiply, dims in range, numbers that
are small. Most calls are accepted. Where PyTorch has the function and accepts the call too, the results must be the
same: dtype, shape and values. `python plausible_calls.py SEED COUNT` is a campaign.
"""

from __future__ import annotations

import inspect
import random
import re
import sys
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import unspool
import unspool.linalg
import unspool.nn.functional
import unspool.special
from fuzz_calls import ALLOWED, LEFT_OUT, public_functions, shown, tensors_in

try:
    import torch
except ImportError:
    torch = None

PLACES = ("unspool", "F", "Tensor", "linalg", "special")
SHAPES = [(), (3,), (1,), (0,), (3, 3), (2, 3), (3, 1), (2, 3, 3), (1, 2, 3), (2, 0, 3), (2, 2, 2, 2)]
# They set what PyTorch, too, keeps for the whole process.
SETTERS = {"set_flush_denormal", "set_warn_always", "set_num_interop_threads", "set_float32_matmul_precision"}
DTYPES = ("float32", "float32", "float32", "float64", "float64", "int64", "int32", "uint8", "bool")
# Not set, or addresses, or names of the library.
UNCOMPARED = {
    "empty", "empty_like", "new_empty", "new_empty_strided", "empty_strided", "resize_", "resize_as_", "data_ptr",
    "memory_stats", "show_config", "get_num_threads", "get_num_interop_threads", "untyped_storage", "storage",
    "_storage", "const_data_ptr", "typename", "numpy", "initial_seed", "get_rng_state", "set_", "element_size",
    "__dlpack__", "frombuffer",
    # which of equal elements is named; the signs of vectors are LAPACK's choice; PyTorch's inverse of one element is
    # empty; its rcond has another meaning; PyTorch leaves half of a factor that there is not
    "eigh", "svd", "qr", "unique_consecutive", "lstsq", "kthvalue",
    "cholesky_ex",
}  # fmt: skip


class Parameter(NamedTuple):
    name: str
    annotation: str
    keyword_only: bool
    optional: bool


def parameters_of(f: Any) -> list[list[Parameter]]:
    """Of each overload: from the docstring's first lines, or from Python."""
    lines = []
    name = getattr(f, "__name__", "")
    for line in (f.__doc__ or "").splitlines():
        if not re.match(rf"{re.escape(name)}\(.*\) *->", line.strip()):
            break
        lines.append(f"def {line.strip()}: ...")
    if not lines:
        try:
            signature = inspect.signature(f)
        except (TypeError, ValueError):
            return []
        return [_parameters(signature)]
    found = []
    for line in lines:
        scope: dict[str, Any] = {}
        exec("from __future__ import annotations\n" + line, scope)  # its own signature text
        found.append(_parameters(inspect.signature(scope[name])))
    return found


def _parameters(signature: inspect.Signature) -> list[Parameter]:
    return [
        Parameter(p.name, str(p.annotation), p.kind is p.KEYWORD_ONLY, p.default is not p.empty)
        for p in signature.parameters.values()
        if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
    ]


class Maker:
    """Arguments of one call, around one shape and dtype."""

    def __init__(self, r: random.Random, name: str) -> None:
        self.r, self.name = r, name
        self.shape = r.choice(SHAPES)
        self.dtype = r.choice(DTYPES)
        if any(word in name for word in ("mm", "matmul", "linalg", "mv", "inverse", "det", "chol", "dot", "solve")):
            self.shape = r.choice([(3, 3), (3, 3), (2, 3, 3), (3,)])
            self.dtype = r.choice(["float32", "float64"])

    def tensor(self, kind: str | None = None, shape: Any = None) -> Any:
        r = self.r
        kind = kind or (self.dtype if r.random() < 0.9 else r.choice(DTYPES))
        if shape is None:
            shape = self.shape
            if r.random() < 0.1 and shape:
                shape = r.choice([(), shape[1:], (*shape[:-1], 1)])
        rng = np.random.default_rng(r.randrange(1 << 30))
        values = rng.integers(0, 4, shape) if not kind.startswith("float") else rng.uniform(0.05, 0.95, shape)
        t = unspool.tensor(np.asarray(values).astype(kind))
        if t.dim() > 1 and t.shape[0] == t.shape[1] and r.random() < 0.2:
            t = t.transpose(0, 1)
        return t

    def index(self) -> Any:
        low = max(1, min(self.shape, default=1))
        shape = self.r.choice([self.shape, (2,)])
        return unspool.tensor(np.random.default_rng(self.r.randrange(1 << 30)).integers(0, low, shape))

    def dims(self) -> list[int]:
        n = max(len(self.shape), 1)
        return self.r.sample(range(n), self.r.randrange(1, n + 1))

    def value(self, p: Parameter) -> Any:
        r, name, note = self.r, p.name, p.annotation
        n = max(len(self.shape), 1)
        if name in ("dim", "dim0", "dim1", "dim2", "axis", "start_dim", "end_dim", "source", "destination") and (
            "int" in note or "Any" in note
        ):
            return r.randrange(-n, n) if r.random() < 0.9 or "Sequence" not in note else self.dims()
        if name in ("dims", "axes"):
            return r.sample(range(n), n) if "permute" in self.name else self.dims()
        if name in ("index", "indices", "sorter"):
            return self.index()
        if name in ("mask", "condition"):
            return self.tensor("bool")
        if name in ("size", "shape", "repeats", "sizes"):
            return [r.choice([1, 2, 3]) for _ in range(n)] if r.random() < 0.5 else list(self.shape)
        if name == "reduction":
            return r.choice(["mean", "sum", "none"])
        if name == "reduce":
            return r.choice(["sum", "mean", "amax", "amin", "prod"])
        if name == "rounding_mode":
            return r.choice([None, "floor", "trunc"])
        if name == "dtype":
            return getattr(unspool, r.choice(["float32", "float64", "int64"]))
        if name in ("tensors", "operands") or "Sequence[Tensor]" in note:
            return [self.tensor() for _ in range(r.choice([1, 2, 3]))]
        if name in ("training", "inplace", "keepdim", "largest", "sorted", "descending", "unbiased") or note == "bool":
            return r.random() < 0.5
        if name in ("p", "eps", "beta", "delta", "momentum", "quantile", "q", "weight_decay") and "Tensor" not in note:
            return r.choice([0.5, 1.0, 2.0]) if name != "q" else 0.5
        if "Tensor" in note and ("float" not in note or r.random() < 0.7):
            return self.tensor()
        if "int" in note:
            return (
                [r.randrange(3) for _ in range(n)] if "Sequence" in note and "int |" not in note else r.randrange(1, 3)
            )
        if "float" in note:
            return r.choice([0.5, 1.0, 2.0, 0, 1, 2])
        if name in ("input", "target", "other", "weight", "mean", "std", "var", "x", "y", "end") or name.endswith(
            "put"
        ):
            return self.tensor()
        return r.choice([1, 2, 0.5])

    def call(self, parameters: list[Parameter], method: bool) -> tuple[list[Any], dict[str, Any]]:
        positional, keywords = [], {}
        skipping = False
        for i, p in enumerate(parameters):
            if method and i == 0:
                positional.append(self.tensor(shape=self.shape))
                continue
            if p.optional and (p.keyword_only or skipping or self.r.random() < 0.7):
                skipping = True
                if p.name in ("device", "layout", "out", "generator", "pin_memory", "memory_format", "size_average"):
                    continue
                if self.r.random() < 0.85:
                    continue
                keywords[p.name] = self.value(p)
            elif p.keyword_only or skipping:
                keywords[p.name] = self.value(p)
            else:
                positional.append(self.value(p))
        return positional, keywords


def theirs_of(place: str, name: str) -> Any:
    if torch is None or name in UNCOMPARED:
        return None
    owner = {
        "unspool": torch,
        "F": torch.nn.functional,
        "Tensor": torch.Tensor,
        "linalg": torch.linalg,
        "special": torch.special,
    }[place]
    return getattr(owner, name, None)


def translated(x: Any) -> Any:
    if isinstance(x, unspool.Tensor):
        t = torch.empty_strided(tuple(x.shape), x.stride(), dtype=getattr(torch, str(x.dtype).split(".")[-1]))
        return t.copy_(torch.from_numpy(x.detach().double().numpy().copy()))
    if isinstance(x, unspool.dtype):
        return getattr(torch, str(x).split(".")[-1])
    if isinstance(x, (list, tuple)):
        return type(x)(translated(item) for item in x)
    return x


def differing(mine: Any, other: Any, single: bool = False) -> str | None:
    """What differs between two results, or None. single: parts were computed in float32, whatever the result is."""
    if isinstance(other, torch.Tensor):
        if not isinstance(mine, unspool.Tensor):
            return f"{mine!r:.80} is no tensor"
        if (str(mine.dtype), tuple(mine.shape)) != (str(other.dtype), tuple(other.shape)):
            return f"{mine.dtype} {tuple(mine.shape)}, not {other.dtype} {tuple(other.shape)}"
        if other.dtype.itemsize == 2:
            return None  # rounded after each operation of a composite; test_halves.py compares them
        a, b = mine.detach().numpy(), other.detach().numpy()
        if not other.dtype.is_floating_point:
            return None if np.array_equal(a, b) else f"{a.tolist()!r:.200}, not {b.tolist()!r:.200}"
        small = 1e-4 if single or other.dtype == torch.float32 else 1e-9
        if np.allclose(a, b, rtol=small, atol=small, equal_nan=True):
            return None
        return f"{a.tolist()!r:.200}, not {b.tolist()!r:.200}"
    if isinstance(other, (list, tuple)):
        if not isinstance(mine, (list, tuple)) or len(mine) != len(other):
            return f"{type(mine).__name__}, not {type(other).__name__} of {len(other)}"
        return next((d for x, y in zip(mine, other, strict=True) if (d := differing(x, y, single))), None)
    if isinstance(other, (bool, int, float)):
        close = mine == other or (mine != mine and other != other) or (
            isinstance(mine, float) and abs(mine - other) <= 1e-4 * max(1.0, abs(other))
        )  # fmt: skip
        return None if close else f"{mine!r}, not {other!r}"
    return None


def contents(t: Any) -> Any:
    values = t.detach().float() if t.dtype == unspool.bfloat16 else t.detach()
    return t.dtype, tuple(t.shape), t.stride(), t.requires_grad, values.numpy().tobytes()


class Report(NamedTuple):
    text: str
    accepted: bool
    compared: bool
    problem: str | None


def candidates() -> list[tuple[str, str, Any, list[list[Parameter]]]]:
    owners = {"special": unspool.special, "linalg": unspool.linalg}
    functions = [(*full.split(".", 1), f) for full, f in public_functions()]
    functions += [
        (place, n, getattr(owner, n)) for place, owner in owners.items() for n in owner.__all__ if n != "LinAlgError"
    ]
    found = []
    for place, name, f in functions:
        if place in PLACES and name not in LEFT_OUT | SETTERS and (overloads := parameters_of(f)):
            found.append((place, name, f, overloads))
    return found


CANDIDATES = candidates()


def guarded(f: Callable[..., Any], arguments: list[Any], keywords: dict[str, Any]) -> tuple[bool, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return True, f(*arguments, **keywords)
        except ALLOWED as error:
            return False, error


def one_call(r: random.Random) -> Report:
    place, name, f, overloads = r.choice(CANDIDATES)
    maker = Maker(r, name if place != "linalg" else f"linalg.{name}")
    arguments, keywords = maker.call(r.choice(overloads), place == "Tensor")
    text = f"{place}.{name}({', '.join(map(shown, arguments))}, { ({k: shown(v) for k, v in keywords.items()}) })"
    given = tensors_in([*arguments, *keywords.values()])
    other = theirs_of(place, name)
    copies = (translated(arguments), translated(keywords)) if other is not None else None
    before = [contents(t) for t in given]
    unspool.manual_seed(7)
    accepted, mine = guarded(f, arguments, keywords)
    writes = (
        name.endswith("_")
        or keywords.get("inplace")
        or (place in ("F", "unspool") and any(x is True for x in arguments))
    )
    if not (accepted and writes) and [contents(t) for t in given] != before:
        return Report(text, accepted, False, "an input was changed")
    if not accepted or copies is None:
        return Report(text, accepted, False, None)
    torch.manual_seed(7)
    taken, theirs = guarded(other, *copies)
    if not taken:
        return Report(text, accepted, False, None)
    problem = differing(mine, theirs, any(t.dtype == unspool.float32 for t in given))
    return Report(text, accepted, True, problem)


def campaign(seed: int, count: int) -> None:
    seen: Counter[str] = Counter()
    problems: dict[str, list[str]] = {}
    for i in range(count):
        report = one_call(random.Random(f"{seed} {i}"))
        seen.update(accepted=report.accepted, compared=report.compared)
        if report.problem:
            problems.setdefault(report.text.split("(")[0], []).append(f"{report.text}\n    {report.problem}")
    for name, texts in sorted(problems.items()):
        print(f"{name}: {len(texts)}\n  {texts[0]}")
    print(
        f"done: {count} calls of {len(CANDIDATES)} functions, {dict(seen)}, {sum(map(len, problems.values()))} differ"
    )


if __name__ == "__main__":
    campaign(int(sys.argv[1]), int(sys.argv[2]))
