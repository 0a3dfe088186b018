"""What a frozen training step costs: unspool.compile, called from Python and in a native loop, and freezing itself.

The five networks of step.py and the sweeps of sweeps.py, SGD with momentum and mean squared error, beside PyTorch's
eager and JAX's jitted step. Freezing is two recorded calls and the plan, of functions of so many operations; the time
is an operation's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import harness
import networks
from step import NETWORKS
from sweeps import SWEEPS

PEERS = ("fma", "unspool", "torch", "jax")
LIMITS = {  # of PyTorch's time, of JAX's, and the part of the FMA peak
    "10-40-40-5, 10": (1 / 35, 1 / 4, None),
    "17-64-64-6, 64": (1 / 11, 1 / 3, None),
    "784-256-256-10, 128": (0.40, 0.90, 0.78),
    "1024×4 layers, 256": (0.43, 0.88, 0.80),
    "32 layers of 64, 32": (1 / 9, 0.40, None),
}
LOOP = 1000  # steps of a native loop in an iteration
SIZES = (100, 1_000, 10_000, 100_000)


def cases() -> list[harness.Case]:
    found = []
    for name, (widths, batch, _) in NETWORKS.items():
        of_torch, of_jax, of_peak = LIMITS[name]
        ratios = (harness.against("torch", of_torch), harness.against("jax", of_jax))
        if of_peak:
            ratios += (harness.peak_share(of_peak),)
        arguments = {"widths": widths, "batch": batch, "frozen": 1}
        found.append(harness.Case(name, PEERS, arguments, ratios, networks.flops(widths, batch), group="frozen"))
    widths, batch, _ = NETWORKS["10-40-40-5, 10"]
    found.append(
        harness.Case(
            "10-40-40-5, 10 looped",
            ("fma", "unspool"),
            {"widths": widths, "batch": batch, "frozen": LOOP},
            (),
            networks.flops(widths, batch),
            group="loop",
            per=LOOP,
        )
    )
    for sweep, points in SWEEPS.items():
        for sizes, batch, name in points:
            found.append(
                harness.Case(
                    name,
                    PEERS,
                    {"widths": sizes, "batch": batch, "frozen": 1},
                    (harness.against("torch"), harness.against("jax")),
                    networks.flops(sizes, batch),
                    group=sweep,
                )
            )
    for kind in ("products", "chain"):
        for n in SIZES:
            found.append(
                harness.Case(f"freeze {n} {kind}", ("unspool",), {"ops": n, "kind": kind}, group="freezing", per=n)
            )
    return found


def freezing(ops: int, kind: str) -> Callable[[], object]:
    """Freezes a function of so many operations, anew each time."""
    import unspool

    w, x = unspool.eye(4), unspool.ones(2, 4)

    def function(x: Any) -> Any:
        for _ in range(ops // 2):
            x = unspool.tanh(x @ w) if kind == "products" else (x + 1) * 0.5
        return x

    def freeze() -> object:
        compiled = unspool.compile(function)
        compiled(x)
        compiled(x)
        return compiled

    return freeze


def setup(peer: str, **arguments: Any) -> Callable[[], object]:
    return freezing(**arguments) if "ops" in arguments else networks.setup(peer, **arguments)


if __name__ == "__main__":
    harness.main(__doc__, cases(), setup, seconds=0.05, rounds=9)
