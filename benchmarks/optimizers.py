"""What an optimizer's step costs with many small parameters: the update alone, with gradients set.

SGD is with momentum. "foreach" is what PyTorch offers for this case; its default on a CPU is a loop.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import harness

UPDATES: dict[str, tuple[str, dict[str, Any]]] = {"SGD": ("SGD", {"momentum": 0.9}), "Adam": ("Adam", {})}
SIZES = {"1000 × 16": (1000, 16), "100 × 4096": (100, 4096)}


def setup(peer: str, *, update: str, count: int, size: int, foreach: bool) -> Callable[[], object]:
    torch = import_module(peer)
    torch.manual_seed(0)
    parameters = [torch.nn.Parameter(torch.randn(size)) for _ in range(count)]
    for parameter in parameters:
        parameter.grad = torch.randn(size)
    name, options = UPDATES[update]
    if foreach and peer == "torch":
        options = options | {"foreach": True}
    return getattr(torch.optim, name)(parameters, lr=1e-6, **options).step


def cases() -> list[harness.Case]:
    return [
        harness.Case(
            f"{name}, {update}" + (", foreach" if foreach else ""),
            ("unspool", "torch"),
            {"update": update, "count": count, "size": size, "foreach": foreach},
            (harness.against("torch"),),
        )
        for name, (count, size) in SIZES.items()
        for update in UPDATES
        for foreach in (False, True)
    ]


if __name__ == "__main__":
    harness.main(__doc__, cases(), setup, seconds=0.05, rounds=11)
