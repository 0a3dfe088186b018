"""What one operation costs where there is nothing to compute: `a + a` on 4 elements that require grad.

An iteration is 100 of them, one after the other; the tensors made are dropped at once.
"""

from __future__ import annotations

from importlib import import_module

import harness


def setup(package: str) -> harness.Iteration:
    a = import_module(package).ones(4, requires_grad=True)
    assert (a + a).requires_grad

    def additions() -> None:
        for _ in range(100):
            a + a

    return additions


if __name__ == "__main__":
    harness.main(__doc__, setup, limit=1 / 3)
