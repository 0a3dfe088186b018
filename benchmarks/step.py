"""What a whole eager training step costs: zero_grad, forward, loss, backward, step.

Five networks, with mean squared error, SGD with momentum and Adam. NumPy's step is written by hand, for SGD.
"""

from __future__ import annotations

import harness
import networks

NETWORKS = {  # widths, batch, what part of PyTorch's time is allowed
    "10-40-40-5, 10": ((10, 40, 40, 5), 10, 1 / 10),
    "17-64-64-6, 64": ((17, 64, 64, 6), 64, 1 / 8),
    "784-256-256-10, 128": ((784, 256, 256, 10), 128, 0.42),
    "1024×4 layers, 256": ((1024,) * 5, 256, 0.43),
    "32 layers of 64, 32": ((64,) * 33, 32, 1 / 6),
}


def cases() -> list[harness.Case]:
    found = []
    for optimizer in ("SGD", "Adam"):
        for name, (widths, batch, limit) in NETWORKS.items():
            ratios = [harness.against("torch", limit)]
            if name == "10-40-40-5, 10" and optimizer == "SGD":
                ratios.append(harness.against("jax", 1.0))
            found.append(
                harness.Case(
                    f"{name}, {optimizer}",
                    ("fma", "unspool", "torch", "jax", "numpy")[: 5 if optimizer == "SGD" else 4],
                    {"widths": widths, "batch": batch, "optimizer": optimizer},
                    tuple(ratios),
                    networks.flops(widths, batch),
                    group=optimizer,
                )
            )
    return found


if __name__ == "__main__":
    harness.main(__doc__, cases(), networks.setup)
