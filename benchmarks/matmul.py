"""How fast a product of two matrices is, called from Python as `a @ b`, in GFLOP/s.

Cubes, and the products of training steps: NT is x @ w.T (forward), TN is g.T @ x (weight gradient), NN is g @ w (input
gradient). The call and the output's memory are part of it; what is wanted of the product itself, gemm.py says.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

import numpy as np

import harness

CUBES = (8, 16, 32, 64, 128, 256, 512, 1024, 2048)
SHAPES = {  # m, k, n
    "10×40·40×40": (10, 40, 40),
    "32×64·64×64": (32, 64, 64),
    "128×784·784×256": (128, 784, 256),
    "64×4096·4096×4096": (64, 4096, 4096),
}
TRANSPOSED = {"NT": (False, True), "TN": (True, False), "NN": (False, False)}


def setup(peer: str, *, m: int, k: int, n: int, kind: str, dtype: str) -> Callable[[], object]:
    random = np.random.default_rng(0)
    left, right = TRANSPOSED[kind]
    a = random.normal(size=(k, m) if left else (m, k)).astype(dtype)
    b = random.normal(size=(n, k) if right else (k, n)).astype(dtype)
    if peer != "numpy":
        package = import_module(peer)
        a, b = package.from_numpy(a), package.from_numpy(b)
    a, b = a.T if left else a, b.T if right else b
    return lambda: a @ b


def case(name: str, shape: tuple[int, int, int], kind: str, dtype: str, group: str) -> harness.Case:
    m, k, n = shape
    return harness.Case(
        name,
        ("fma", "unspool", "torch", "numpy"),
        {"m": m, "k": k, "n": n, "kind": kind, "dtype": dtype},
        (harness.against("torch"), harness.against("numpy"), harness.peak_share()),
        2.0 * m * k * n,
        dtype,
        group,
    )


def cases() -> list[harness.Case]:
    found = []
    for dtype, sizes in (("float32", CUBES), ("float64", (64, 256, 1024))):
        for size in sizes:
            found.append(case(f"{size}³ {dtype}", (size,) * 3, "NN", dtype, f"cubes {dtype}"))
    for name, shape in SHAPES.items():
        for kind in TRANSPOSED:
            found.append(case(f"{name} {kind}", shape, kind, "float32", "shapes"))
    return found


if __name__ == "__main__":
    harness.main(__doc__, cases(), setup, seconds=0.05, rounds=11, rates=True)
