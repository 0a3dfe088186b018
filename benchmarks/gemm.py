"""How fast the matrix product is, called from C, beside the FMA peak and OpenBLAS, in GFLOP/s.

Cubes, the three products of a layer (NT: x·wᵀ, forward; NN: g·w, the input's gradient; TN: gᵀ·x, the weight's) and
products with a vector; in float32, where nothing else is said. `native/gemm.cpp` calls them in a loop; it is built
with the engine of this tree when the script is run, in build/test or build/benchmark. OpenBLAS is the one in NumPy's
wheel.
"""

from __future__ import annotations

import ctypes
import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

import harness
import openblas

ROOT = Path(__file__).resolve().parent.parent
TESTS = ROOT / "build" / "test"  # where tools/test.sh has built the engine, it need not be built twice
BUILD = TESTS if (TESTS / "CMakeCache.txt").exists() else ROOT / "build" / "benchmark"

CUBES = (16, 32, 48, 64, 128, 256, 512, 1024, 2048)
LAYERS = ((10, 40, 40), (32, 64, 64), (128, 784, 256), (64, 4096, 4096))  # batch, inputs, outputs
SMALL = 48**3  # steps of a product that is small
ROUND_FLOPS = 2e8  # of an iteration: some milliseconds, beside which its call from Python is nothing


def build() -> str | None:
    """Makes the library that the peers load; or says what it wants."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    cmake = shutil.which("cmake", path=path)
    compilers = ("c++", "g++", "clang++")
    if cmake is None or not ("CXX" in os.environ or any(shutil.which(name, path=path) for name in compilers)):
        return "it wants CMake and a C++ compiler"
    generator = {"CMAKE_GENERATOR": "Ninja"} if shutil.which("ninja", path=path) else {}
    configure = ["-S", str(ROOT), "-B", str(BUILD), "-DUNSPOOL_BUILD_PYTHON=OFF", "-DCMAKE_BUILD_TYPE=Release"]
    make = ["--build", str(BUILD), "--target", "benchmark_gemm", "--parallel"]
    for command in [make] if BUILD == TESTS else [configure, make]:
        # What it says goes where the dots go.
        subprocess.run([cmake, *command], check=True, stdout=sys.stderr, env=generator | os.environ | {"PATH": path})
    return None


def aligned(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Memory as the engine's tensors have it, for both peers: it begins with a cache line."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.zeros(size + 63, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size].view(dtype).reshape(shape)


def setup(peer: str, *, m: int, k: int, n: int, layout: str, dtype: str, calls: int) -> Callable[[], object]:
    left, right = (letter == "T" for letter in layout)
    random = np.random.default_rng(0)
    a, b = (aligned(shape, dtype) for shape in ((k, m) if left else (m, k), (n, k) if right else (k, n)))
    for array in (a, b):
        array[:] = random.normal(size=array.shape)
    c = aligned((m, n), dtype)
    double = dtype == "float64"
    gemm = None
    if peer == "openblas":
        gemm = ctypes.cast(openblas.function("cblas_dgemm" if double else "cblas_sgemm"), ctypes.c_void_p)
    run = ctypes.CDLL(str(next(BUILD.glob("*benchmark_gemm.so")))).benchmark_gemm
    integer, pointer = ctypes.c_int64, ctypes.c_void_p
    run.argtypes = [integer, ctypes.c_int, *[integer] * 3, *[ctypes.c_int] * 2, *[pointer] * 4]
    run.restype = None
    memory = [array.ctypes.data_as(pointer) for array in (a, b, c)]  # which keeps the arrays
    arguments = (double, m, n, k, left, right, *memory, gemm)

    run(1, *arguments)
    wanted = (a.T if left else a) @ (b.T if right else b)
    np.testing.assert_allclose(c, wanted, rtol=1e-3, atol=32 * k * np.finfo(dtype).eps)
    return functools.partial(run, calls, *arguments)


def of_peak(m: int, k: int, n: int, dtype: str) -> float | None:
    """The least share of the FMA peak that is wanted."""
    if m == n == k and m >= 512:
        return 0.90 if dtype == "float32" else 0.88
    wanted = {(128, 256, 784): 0.88, (64, 64, 64): 0.75, (32, 64, 64): 0.70}
    return wanted.get(tuple(sorted((m, k, n)))) if dtype == "float32" else None


def case(m: int, k: int, n: int, layout: str, dtype: str) -> harness.Case:
    name = f"{m}³" if m == k == n else f"{m}×{k}·{k}×{n} {layout}"
    flops = 2.0 * m * k * n
    calls = max(1, round(ROUND_FLOPS / flops))
    least = 1.5 if m * k * n <= SMALL else 1.0
    beside = harness.Ratio(("openblas",), ("unspool",), at_least=least, text="× OpenBLAS")
    return harness.Case(
        name if dtype == "float32" else f"{name} f64",
        ("fma", "unspool", "openblas"),
        {"m": m, "k": k, "n": n, "layout": layout, "dtype": dtype, "calls": calls},
        (harness.peak_share(of_peak(m, k, n, dtype)), beside),
        flops,
        dtype,
        per=calls,
    )


def cases() -> list[harness.Case]:
    shapes = [(size, size, size, "NN") for size in CUBES]
    for batch, inputs, outputs in LAYERS:
        shapes.append((batch, inputs, outputs, "NT"))
        shapes.append((batch, outputs, inputs, "NN"))
        shapes.append((outputs, batch, inputs, "TN"))
    shapes += [(1, 1024, 1024, layout) for layout in ("NT", "NN")]
    shapes += [(1024, 1024, 1, layout) for layout in ("NN", "TN")]
    return [case(*shape, dtype) for dtype in ("float32", "float64") for shape in shapes]


if __name__ == "__main__":
    harness.main(__doc__, cases(), setup, seconds=0.05, rounds=11, rates=True, prepare=build)
