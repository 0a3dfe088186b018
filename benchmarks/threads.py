"""What a second thread brings to an eager training step, beside what it brings to bare multiply-adds.

Networks of step.py, SGD with momentum. "@2" is a peer with two threads and two CPUs. "speedup" is unspool's, "of FMA"
its speedup over that of the multiply-adds in the same round.
"""

from __future__ import annotations

import harness
import networks
from step import NETWORKS

ONE, TWO = ("unspool", "fma"), ("unspool@2", "fma@2")
SCALING = harness.Ratio(("unspool", "fma@2"), ("unspool@2", "fma"), at_least=0.95, text="of FMA")
NO_SLOWER = harness.Ratio(("unspool@2",), ("unspool",), at_most=1.0, text="@2 / @1")
SPEEDUP = harness.Ratio(("unspool",), ("unspool@2",), text="speedup")
FMA_SPEEDUP = harness.Ratio(("fma",), ("fma@2",), text="FMA")


def cases() -> list[harness.Case]:
    wanted = {"10-40-40-5, 10": NO_SLOWER, "1024×4 layers, 256": SCALING}
    return [
        harness.Case(
            name,
            ("fma", "fma@2", "unspool", "unspool@2", "torch", "torch@2"),
            {"widths": widths, "batch": batch},
            (SPEEDUP, FMA_SPEEDUP, *([wanted[name]] if name in wanted else [])),
        )
        for name, (widths, batch, _) in NETWORKS.items()
    ]


if __name__ == "__main__":
    harness.main(__doc__, cases(), networks.setup)
