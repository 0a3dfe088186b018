"""What one operation costs where there is next to nothing to compute, on 4 elements.

The tensors made are dropped at once. a requires grad, b does not; w is 4 × 4 and requires grad.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import harness

OPS = (
    "a + a",
    "b + b",
    "a * 2",
    "a.exp()",
    "a.sum()",
    "a.view(2, 2)",
    "b[1]",
    "b.add_(1)",
    "w @ a",
    "F.linear(a, w)",
    "a.sum().backward()",
)
LIMITS = {"a + a": 1 / 5}
REPEAT = 100  # operations an iteration, so that the harness's own call does not count


def setup(peer: str, *, op: str) -> Callable[[], object]:
    torch = import_module(peer)
    names: dict[str, Any] = {}
    exec(f"def repeated(a, b, w, F):\n for _ in range({REPEAT}): {op}", names)
    a, b, w = torch.ones(4, requires_grad=True), torch.ones(4), torch.ones(4, 4, requires_grad=True)
    functional = import_module(f"{peer}.nn.functional")
    return lambda: names["repeated"](a, b, w, functional)


def cases() -> list[harness.Case]:
    return [
        harness.Case(op, ("unspool", "torch"), {"op": op}, (harness.against("torch", LIMITS.get(op)),), per=REPEAT)
        for op in OPS
    ]


if __name__ == "__main__":
    harness.main(__doc__, cases(), setup)
