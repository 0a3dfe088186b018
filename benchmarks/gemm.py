"""The matrix product against the processor's FMA peak and against OpenBLAS, all called from C++ on one thread.

Builds and runs `native/gemm.cpp`, which says what is measured, and compares with what is wanted. OpenBLAS is the one in
NumPy's wheel. A peak of another instruction set is measured with `UNSPOOL_ISA=avx2` before the command.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy

import harness

ROOT = Path(__file__).resolve().parent.parent


def openblas() -> Path:
    found = sorted((Path(numpy.__file__).parent.parent / "numpy.libs").glob("libscipy_openblas64*.so*"))
    if not found:
        sys.exit("gemm: this NumPy brings no OpenBLAS with 64-bit integers; a wheel from PyPI does")
    return found[0]


def build(folder: Path) -> Path:
    configure = ["cmake", "-S", ROOT, "-B", folder, "-DUNSPOOL_BUILD_PYTHON=OFF", "-DCMAKE_BUILD_TYPE=Release"]
    for command in (configure, ["cmake", "--build", folder, "--target", "benchmark_gemm"]):
        subprocess.run([str(part) for part in command], check=True, stdout=sys.stderr)
    return folder / "benchmark_gemm"


def wanted(size: dict[str, Any]) -> dict[str, float]:
    """At least these ratios; none for products with a vector, whose limit is memory."""
    m, n, k = size["m"], size["n"], size["k"]
    if 1 in (m, n):
        return {}
    least = {"of_openblas": 1.5 if m * n * k <= 48**3 else 1.0}
    if m == n == k and m >= 512:
        least["of_peak"] = 0.90 if size["dtype"] == "float32" else 0.88
    elif size["dtype"] == "float32":
        shape = tuple(sorted((m, n, k)))
        if shape == (128, 256, 784):
            least["of_peak"] = 0.88
        elif shape == (64, 64, 64):
            least["of_peak"] = 0.75
        elif shape == (32, 64, 64):
            least["of_peak"] = 0.70
    return least


def run(program: Path, args: argparse.Namespace) -> dict[str, Any]:
    environment = {k: v for k, v in os.environ.items() if k not in harness.UNSET or k == "UNSPOOL_ISA"}
    command = ["taskset", "-c", str(args.cpu), program, openblas(), args.rounds, args.milliseconds, args.only]
    out = subprocess.run(
        [str(part) for part in command],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env=environment | dict.fromkeys(harness.ONE_THREAD, "1"),
    ).stdout
    result: dict[str, Any] = json.loads(out)
    return result


def main() -> None:
    parser = harness.arguments(__doc__)
    parser.add_argument("--milliseconds", type=float, default=20, help="a contestant's part of a round (20)")
    parser.add_argument("--only", default="", help="sizes whose line begins so, such as 'float32   512'")
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "benchmark", help="a folder to build in")
    parser.add_argument("--enforce", action="store_true", help="exit 1 where a ratio is below what is wanted")
    args = parser.parse_args()
    result: dict[str, Any] = {"benchmark": "gemm", "machine": harness.machine(args.cpu), "numpy": numpy.__version__}
    harness.print_machine(result["machine"])
    result |= run(build(args.build), args)
    missed = 0
    for size in result["sizes"]:
        size["wanted"] = wanted(size)
        for name, least in size["wanted"].items():
            if size[name] < least:
                missed += 1
                print(
                    f"{size['dtype']} m {size['m']} n {size['n']} k {size['k']} {size['layout']}: "
                    f"{name} is {size[name]:.3f}, {least:.2f} is wanted"
                )
    harness.write_json(args.json, result)
    if args.enforce and missed:
        sys.exit(1)


if __name__ == "__main__":
    main()
