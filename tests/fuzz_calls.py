"""Calls public functions with arbitrary arguments: `python fuzz_calls.py SEED COUNT`.

Every call returns, or raises an exception of ALLOWED; after a call that raised, the tensors given to it are what they
were. Each call is written to standard output before it is made, so that a crash names its call.
"""

from __future__ import annotations

import random
import resource
import sys
import types
import warnings
from typing import Any

import numpy as np

import unspool
import unspool.nn.functional as F

# AssertionError is what PyTorch's embedding and attention raise; unspool has no assert statement.
ALLOWED = (TypeError, ValueError, RuntimeError, IndexError, OverflowError, MemoryError, NotImplementedError,
           BufferError, KeyError, AttributeError, ZeroDivisionError, AssertionError)  # fmt: skip
# They change the process, wait, write files, or are meant to raise.
LEFT_OUT = {
    "set_default_dtype", "set_printoptions", "manual_seed", "seed", "set_rng_state", "set_num_threads", "save", "load",
    "use_deterministic_algorithms", "set_default_device", "set_grad_enabled", "empty_cache", "reset_peak_memory_stats",
    "set_detect_anomaly", "share_memory_",
}  # fmt: skip
MEMORY = 3 << 30  # bytes of address space: larger requests are MemoryErrors


def public_functions() -> list[tuple[str, Any]]:
    places = {"unspool": unspool, "F": F, "Tensor": unspool.Tensor, "init": unspool.nn.init}
    for name in ("linalg", "autograd"):
        if isinstance(found := getattr(unspool, name, None), types.ModuleType):
            places[name] = found
    found = []
    for place, owner in places.items():
        for name in sorted(dir(owner)):
            value = getattr(owner, name, None)
            own = getattr(value, "__module__", None) or "unspool"
            if name.startswith("_") or name in LEFT_OUT or not callable(value) or isinstance(value, type):
                continue
            if own.startswith("unspool"):
                found.append((f"{place}.{name}", value))
    return found


def some_tensor(r: random.Random) -> Any:
    shape = r.choice([(), (0,), (1,), (3,), (4,), (2, 3), (3, 3), (3, 1), (0, 3), (2, 0, 3), (2, 3, 4), (1, 1, 1, 2)])
    kind = r.choice(["float32", "float64", "int64", "int32", "uint8", "bool"])
    rng = np.random.default_rng(r.randrange(1 << 30))
    if r.random() < 0.1 and kind.startswith("float"):
        values = rng.choice([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e308, 5e-324], shape)
    else:
        values = rng.integers(0, 4, shape) if r.random() < 0.4 else rng.normal(size=shape) * 3
    with np.errstate(all="ignore"):
        t = unspool.tensor(np.asarray(values).astype(kind))
    if t.dim() > 1 and r.random() < 0.3:
        t = t.transpose(0, 1)
    if t.numel() > 1 and t.dim() and r.random() < 0.2:
        t = t[::2]
    if kind.startswith("float") and r.random() < 0.4:
        t.requires_grad_()
    return t


def some_argument(r: random.Random, depth: int = 0) -> Any:
    pick = r.random()
    if pick < 0.45:
        return some_tensor(r)
    if pick < 0.65:
        return r.choice([0, 1, 2, -1, -2, 3, 7, 100, -100, 2**31, -(2**31), 2**62, 2**63, 2**70, -(2**63)])
    if pick < 0.75:
        return r.choice([0.0, 1.0, -1.0, 0.5, -0.0, 1e300, float("nan"), float("inf"), float("-inf"), 2.5])
    if pick < 0.8:
        return r.choice([None, True, False, ..., slice(None), slice(1, 9, 2)])
    if pick < 0.84:
        return r.choice(["", "mean", "sum", "none", "ij,jk->ik", "fro", "floor", "tanh", "dim", "é\udcff", "a" * 300])
    if pick < 0.88:
        return r.choice([unspool.float32, unspool.int64, unspool.bool, np.float32, np.int64(2), "cpu", object(), {}])
    if pick < 0.9:
        return np.arange(6.0).reshape(2, 3)[:, :: r.choice([1, -1, 2])]
    if depth > 2:
        return ()
    items = [some_argument(r, depth + 1) for _ in range(r.randrange(4))]
    return items if r.random() < 0.5 else tuple(items)


KEYWORDS = (
    "dim", "keepdim", "dtype", "out", "alpha", "p", "reduction", "weight", "other", "value", "size", "n", "k",
    "generator", "requires_grad", "descending", "correction", "index", "src", "training", "inplace",
)  # fmt: skip


def tensors_in(x: Any) -> list[Any]:
    if isinstance(x, (list, tuple)):
        return [t for item in x for t in tensors_in(item)]
    return [x] if isinstance(x, unspool.Tensor) else []


def state(t: Any) -> Any:
    return t.dtype, tuple(t.shape), t.stride(), t.requires_grad, t.detach().numpy().tobytes()


def shown(x: Any) -> str:
    return f"tensor{tuple(x.shape)}:{x.dtype}" if isinstance(x, unspool.Tensor) else f"{x!r:.60}"


def run(seed: int, count: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    warnings.simplefilter("ignore")
    functions = public_functions()
    r = random.Random(seed)
    raised = 0
    for i in range(count):
        name, function = r.choice(functions)
        arguments = [some_argument(r) for _ in range(r.choice([0, 1, 1, 1, 1, 2, 2, 2, 3, 3, 4, 5]))]
        if name.startswith("Tensor."):
            arguments.insert(0, some_tensor(r))
        elif arguments and r.random() < 0.5:
            arguments[0] = some_tensor(r)
        keywords = {r.choice(KEYWORDS): some_argument(r) for _ in range(r.choice([0] * 8 + [1, 1, 2]))}
        given = tensors_in([*arguments, *keywords.values()])
        before = [state(t) for t in given]
        print(i, name, *map(shown, arguments), {k: shown(v) for k, v in keywords.items()}, flush=True)
        try:
            function(*arguments, **keywords)
        except ALLOWED:
            raised += 1
            for t, was in zip(given, before, strict=True):
                if state(t) != was:
                    sys.exit(f"call {i} of {name} raised and changed {shown(t)}")
    print(f"done: {count} calls of {len(functions)} functions, {raised} raised")


if __name__ == "__main__":
    run(int(sys.argv[1]), int(sys.argv[2]))
