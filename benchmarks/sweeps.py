"""What an eager training step costs against its work: over batch, width and depth.

SGD with momentum, mean squared error. The work is the floating-point operations of the products; where a peer's line
is flat, overhead is what it pays for.
"""

from __future__ import annotations

import harness
import networks

SWEEPS = {  # widths and batch for each value
    "batch": [((64, 64, 64, 64), batch, f"batch {batch}") for batch in (1, 4, 16, 64, 256, 1024, 4096)],
    "width": [((width,) * 4, 64, f"width {width}") for width in (8, 16, 32, 64, 128, 256, 512, 1024)],
    "depth": [((64,) * (depth + 1), 32, f"depth {depth}") for depth in (1, 2, 4, 8, 16, 32, 64)],
}


def cases() -> list[harness.Case]:
    return [
        harness.Case(
            name,
            ("fma", "unspool", "torch", "jax"),
            {"widths": widths, "batch": batch},
            (harness.against("torch"), harness.against("jax")),
            networks.flops(widths, batch),
            group=sweep,
        )
        for sweep, points in SWEEPS.items()
        for widths, batch, name in points
    ]


if __name__ == "__main__":
    harness.main(__doc__, cases(), networks.setup, seconds=0.05, rounds=9)
