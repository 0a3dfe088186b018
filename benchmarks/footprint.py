"""What importing and training take: time and memory of fresh processes, and the wheel's size.

Each figure is of fresh processes, one after the other, each round every one of them. Time is CPU time; memory is the
largest resident set; training is 20 steps of step.py's third network. The wheel is what is installed, packed again
as a wheel packs it, or the file that --wheel names.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import harness
import report

LIMIT_SECONDS = 0.040  # of an import of unspool and its submodules, after NumPy's
LIMIT_WHEEL_BYTES = 3_000_000

IMPORT = """
import json, os, resource, sys, time
os.sched_setaffinity(0, {{{cpu}}})
import numpy
start = time.process_time()
import {imports}
seconds = time.process_time() - start
sys.path.insert(0, {folder!r})
{work}
kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({{"seconds": seconds, "bytes": kilobytes * 1024, "version": {package}.__version__}}))
"""
IMPORTS = {
    "numpy": "numpy",
    "unspool": "unspool, unspool.nn, unspool.optim.lr_scheduler, unspool.utils.data",
    "torch": "torch, torch.utils.data",
    "jax": "jax, jax.numpy",
}
TRAINING = """
import networks
step = networks.setup({package!r}, widths=(784, 256, 256, 10), batch=128)
for _ in range(20):
    step()
"""


def measure(package: str, cpu: int, train: bool) -> dict[str, Any]:
    work = TRAINING.format(package=package) if train else ""
    folder = str(Path(__file__).resolve().parent)
    code = IMPORT.format(cpu=cpu, imports=IMPORTS[package], folder=folder, work=work, package=package)
    command, env = [sys.executable, "-c", code], harness.peer_environment()
    return json.loads(subprocess.run(command, env=env, check=True, capture_output=True).stdout)


def wheel_bytes() -> int:
    """Of what the installed distribution's record lists, byte code aside."""
    files = [file for file in importlib.metadata.files("unspool") or [] if file.suffix != ".pyc"]
    with tempfile.TemporaryDirectory() as folder:
        packed = Path(folder) / "unspool.whl"
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in files:
                archive.write(file.locate(), str(file))
        return packed.stat().st_size


def limit_line(what: str, value: float, limit: float, text: str, wanted: str) -> dict[str, Any]:
    met = value <= limit
    print(f"{what:26}{text:18}≤ {wanted:12}{'met' if met else 'NOT met'}")
    return {"name": what, "value": value, "at_most": limit, "met": met}


def main() -> None:
    parser = harness.arguments(__doc__, 0.0, 7)
    parser.add_argument("--wheel", type=Path, help="a built wheel")
    args = parser.parse_args()
    packages = [package for package in IMPORTS if not args.peers or package in args.peers]
    for reason in filter(None, map(harness.missing, packages)):
        print(reason)
    packages = [package for package in packages if harness.missing(package) is None]
    result: dict[str, Any] = {
        "benchmark": "footprint",
        "question": (__doc__ or "").splitlines()[0],
        "machine": harness.machine(args.cpus[-1:]),
        "peers": {},
        "cases": [],
    }
    report.print_head(result)
    runs: dict[tuple[str, bool], list[dict[str, Any]]] = {}
    for _ in range(args.rounds + 1):  # the first one fills the disk's cache and writes the byte code
        for package in packages:
            for train in (False, True):
                runs.setdefault((package, train), []).append(measure(package, args.cpus[-1], train))
    print(f"median (all) of {args.rounds} processes each\n")
    print(f"{'':10}{'import after NumPy':>28}{'memory':>14}{'after training':>18}")
    for package in packages:
        imported, trained = (runs[package, train][1:] for train in (False, True))
        result["peers"][package] = {"version": imported[0]["version"]}
        s = harness.spread([run["seconds"] for run in imported])
        memory = harness.spread([run["bytes"] for run in imported])
        after = harness.spread([run["bytes"] for run in trained])
        result["cases"].append({"name": package, "seconds": s, "bytes": memory, "trained_bytes": after})
        seconds = f"{report.duration(s['median'])} ({report.duration(s['least'])}-{report.duration(s['most'])})"
        figures = [f"{value['median'] / 2**20:.0f} MiB" for value in (memory, after)]
        print(f"{package:10}{seconds if package != 'numpy' else '':>28}{figures[0]:>14}{figures[1]:>18}")
    print()
    limits = []
    if "unspool" in packages:
        seconds = next(case for case in result["cases"] if case["name"] == "unspool")["seconds"]["median"]
        size = os.path.getsize(args.wheel) if args.wheel else wheel_bytes()
        limits = [
            limit_line("import after NumPy", seconds, LIMIT_SECONDS, report.duration(seconds), "40 ms"),
            limit_line("wheel", size, LIMIT_WHEEL_BYTES, f"{size:,} bytes", "3,000,000"),
        ]
    result["limits"] = limits
    harness.write_json(args.json, result)
    if args.enforce and not all(limit["met"] for limit in limits):
        sys.exit(1)


if __name__ == "__main__":
    main()
