"""What an eager training step costs in float64: the first and the third network of step.py, SGD with momentum."""

from __future__ import annotations

import harness
import networks
from step import NETWORKS


def cases() -> list[harness.Case]:
    return [
        harness.Case(
            name,
            ("fma", "unspool", "torch", "jax"),
            {"widths": widths, "batch": batch, "dtype": "float64"},
            (harness.against("torch"), harness.against("jax")),
            networks.flops(widths, batch),
            "float64",
        )
        for name, (widths, batch, _) in NETWORKS.items()
        if name in ("10-40-40-5, 10", "784-256-256-10, 128")
    ]


if __name__ == "__main__":
    harness.main(__doc__, cases(), networks.setup)
