"""Measures everything: runs each benchmark, stores results/*.json, draws the plot and writes README's table.

`python benchmarks/run.py` takes about 30 minutes, the first time some more, in which gemm compiles the engine's
kernels; with names (`run.py step sweeps`) it runs those only. Where it may use one CPU only, threads is skipped; where
there is no CMake or C++ compiler, gemm is. Their stored results stay.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import summary

FOLDER = Path(__file__).resolve().parent
SCRIPTS = (
    "step",
    "frozen",
    "trainer",
    "float64",
    "sweeps",
    "matmul",
    "gemm",
    "op_overhead",
    "optimizers",
    "data_loader",
    "notes",
    "threads",
    "footprint",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help=f"which: {', '.join(SCRIPTS)} (all)")
    args = parser.parse_args()
    unknown = set(args.names) - set(SCRIPTS)
    if unknown:
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    for name in args.names or SCRIPTS:
        store = summary.RESULTS / f"{name}.json"
        subprocess.run([sys.executable, str(FOLDER / f"{name}.py"), "--json", str(store)], check=True)
        print()
    results = summary.load()
    summary.draw(results)
    summary.rewrite(results)
    print(f"written: {summary.PLOT}, and the table of {summary.README}")


if __name__ == "__main__":
    main()
