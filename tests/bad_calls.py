"""Malformed calls: what each must raise, and which words its message must contain. `test_bad_input.py` runs them.

The rows are in bad_tensor_calls.py, bad_training_calls.py and bad_families.py. A case is code that must fail. It sees
the fresh objects of `world()`; `setup` runs first and may succeed. Run as a program (`python bad_calls.py FIRST
LAST`) this file is the child process: it prints one JSON line before and one after each case, so that the parent
knows which case took the interpreter down. After each case everything in the world must be as it was, to the bit, and
one training step on it must give the bits of an untouched world.
"""

from __future__ import annotations

import hashlib
import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

import bad_families
import bad_tensor_calls
import bad_training_calls
from bad_cases import ATTRIBUTE, INDEX, KEY, RUNTIME, TYPE, VALUE, Case, Cases

_TYPES = {
    "V": VALUE,
    "T": TYPE,
    "R": RUNTIME,
    "I": INDEX,
    "K": KEY,
    "A": ATTRIBUTE,
    "N": NotImplementedError,
    "B": BufferError,
}
CASES = Cases([*bad_tensor_calls.CASES, *bad_training_calls.CASES])
for _row in bad_families.ROWS.strip().splitlines():
    _op, _code, _errors, *_words = (part.strip() for part in f"{_row} ".split(" | "))
    _found = tuple(_TYPES[letter] for letter in _errors)
    CASES.bad(f"{_op}: {_code}", _code, _found, *(word for word in (_op, *_words) if word))

# What a broken library would do, to test the table's runner itself; numbered after the cases.
CONTROLS = [
    Case("kills the interpreter", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", (VALUE,), ()),
    Case("changes a tensor", "a.add_(1); raise ValueError", (VALUE,), ()),
    Case("changes a setting", "sgd.param_groups[0]['lr'] = 1; 1 / 0", (ZeroDivisionError,), ()),
    Case("draws numbers", "torch.rand(1); raise ValueError", (VALUE,), ()),
    Case("raises nothing", "pass", (VALUE,), ()),
    Case("raises another type", "raise KeyError(1)", (VALUE,), ()),
    Case("says nothing", "raise ValueError('bad')", (VALUE,), ("matmul",)),
]


class Shrinking:
    """A sequence whose length is another one each time that it is asked."""

    def __init__(self) -> None:
        self.n = 40

    def __len__(self) -> int:
        self.n -= 1
        return self.n

    def __getitem__(self, i: int) -> float:
        if i >= self.n:
            raise IndexError(i)
        return 1.0


class Raising:
    def __len__(self) -> int:
        return 3

    def __getitem__(self, i: int) -> float:
        return 1 / 0


def world() -> dict[str, Any]:
    """Fresh objects for one case: tensors of several kinds, a model with trained optimizers, data."""
    import unspool as torch
    from unspool import nn, optim
    from unspool.optim.lr_scheduler import StepLR
    from unspool.utils.data import DataLoader, TensorDataset, random_split

    class Early(nn.Module):
        def __init__(self) -> None:
            self.weight = nn.Parameter(torch.ones(1))

    warnings.resetwarnings()
    warnings.simplefilter("ignore")
    torch.set_default_dtype(torch.float32)
    torch.set_grad_enabled(True)
    torch.manual_seed(3)
    a, b, x = torch.randn(2, 3), torch.randn(4, 5), torch.randn(5, 3)
    v3, v4, s, e = torch.randn(3), torch.randn(4), torch.tensor(1.5), torch.empty(0, 3)
    i, i0 = torch.arange(6).reshape(2, 3), torch.tensor(1)
    m = i > 2
    w = torch.randn(3, 2, requires_grad=True)
    w.grad = torch.ones(3, 2)
    p = nn.Parameter(torch.randn(4, 3))
    y = w * 2
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    labels = torch.tensor([0, 1, 1, 0, 1])
    logits = torch.randn(5, 2)
    sgd = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    adam = optim.Adam(model.parameters(), lr=0.01)
    nn.functional.cross_entropy(model(x), labels).backward()
    sgd.step()
    adam.step()
    readonly = np.arange(4.0)
    readonly.flags.writeable = False
    data = TensorDataset(torch.randn(10, 3), torch.randint(0, 2, (10,)))
    loader = DataLoader(data, batch_size=4, shuffle=True, generator=torch.Generator().manual_seed(5))
    gen = torch.Generator().manual_seed(1)
    names = dict(locals())
    names.update(F=nn.functional, StepLR=StepLR, random_split=random_split, np=np, Shrinking=Shrinking, Raising=Raising)
    return names


def _of_tensor(t: Any) -> Any:
    values = t.detach().contiguous().numpy().tobytes()
    kind = (type(t).__name__, tuple(t.shape), t.stride(), str(t.dtype), t.requires_grad, t.is_leaf, t._version)
    return [*kind, hashlib.sha256(values).hexdigest(), None if t.grad is None else _of_tensor(t.grad)]


def _state(value: Any) -> Any:
    """All that a failed call must leave alone, as something that compares."""
    import unspool as torch

    if isinstance(value, torch.Tensor):
        return _of_tensor(value)
    if isinstance(value, np.ndarray):
        return value.tobytes()
    if isinstance(value, torch.nn.Module):
        tensors = {k: (_of_tensor(t), id(t)) for k, t in value.state_dict(keep_vars=True).items()}
        return repr(value), value.training, tensors, sorted(value.__dict__)
    if isinstance(value, torch.optim.Optimizer):
        return _state(value.state_dict()), repr(value), [id(q) for g in value.param_groups for q in g["params"]]
    if isinstance(value, torch.Generator):
        return value.get_state().numpy().tobytes()
    if isinstance(value, dict):
        return {k: _state(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)) and len(value) != 1:
        return [_state(v) for v in value]
    return repr(value)


def states(names: dict[str, Any]) -> dict[str, Any]:
    import unspool as torch

    watched = (torch.Tensor, np.ndarray, torch.nn.Module, torch.optim.Optimizer, torch.Generator, dict)
    found = {k: _state(v) for k, v in names.items() if isinstance(v, watched) and not k.startswith("__")}
    found["default generator"] = _state(torch.default_generator)
    found["loader's generator"] = _state(names["loader"].generator)
    found["modes"] = (torch.is_grad_enabled(), torch.get_default_dtype())
    return found


def train(names: dict[str, Any]) -> str:
    """What one more step of work on these objects gives, as a digest."""
    import unspool as torch

    bits = hashlib.sha256()
    model, sgd, adam = names["model"], names["sgd"], names["adam"]
    sgd.zero_grad()
    for rows, classes in names["loader"]:
        torch.nn.functional.cross_entropy(model(rows), classes).backward()
        bits.update(rows.numpy().tobytes())
    sgd.step()
    adam.step()
    names["y"].sum().backward(retain_graph=True)
    made = [*model.parameters(), names["w"].grad, names["a"] @ names["w"], torch.rand(3), names["b"].sum(1)]
    made += [torch.rand(3, generator=names["gen"]), names["i"] // 2, torch.cat([names["v3"], names["v4"]])]
    for t in made:
        bits.update(t.detach().numpy().tobytes())
    return bits.hexdigest()


def prepared(case: Case) -> str:
    """The digest where the call is left out; empty where the setup itself has made the next step impossible."""
    names = world()
    exec(compile(case.setup, case.name, "exec"), names)
    try:
        return train(names)
    except (TypeError, RuntimeError):
        return ""


def run(case: Case, expected: str) -> dict[str, Any]:
    """{'problem': …} of one case; None for the problem where all is well."""
    if case.setup:
        expected = prepared(case)
    names = world()
    exec(compile(case.setup, case.name, "exec"), names)
    before = states(names)
    kind = text = ""
    try:
        exec(compile(case.code, case.name, "exec"), names)
    except Exception as error:
        kind, text = type(error).__name__, str(error)
        if not isinstance(error, case.errors):
            wanted = " or ".join(e.__name__ for e in case.errors)
            return {"problem": f"raised {kind}, expected {wanted}: {text}"}
    else:
        return {"problem": "raised nothing"}
    lacking = [word for word in case.words if word not in text]
    if lacking:
        return {"problem": f"{kind}'s message lacks {lacking}: {text}"}
    after = states(names)
    changed = [name for name in before if before[name] != after.get(name)]
    if changed:
        return {"problem": f"{kind} left {changed} changed: {text}"}
    if expected and train(names) != expected:
        return {"problem": f"after the {kind}, a valid step gives other numbers: {text}"}
    return {"problem": None, "kind": kind, "text": text}


def limit_memory() -> None:
    """A request for terabytes fails at once, whatever the machine promises."""
    import resource

    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (4 << 30),) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main() -> None:
    first, last = int(sys.argv[1]), int(sys.argv[2])
    expected = train(world())
    limit_memory()
    for number in range(first, last):
        print(json.dumps({"number": number}), flush=True)
        print(json.dumps({"number": number, **run((CASES + CONTROLS)[number], expected)}), flush=True)


if __name__ == "__main__":
    main()
