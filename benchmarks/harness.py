"""What all benchmarks share: peers in processes of their own, asked in turn, and what is printed of the answers.

Start reading at `compare`. A benchmark is a script that calls `main(__doc__, setup, limit=...)`, where
`setup(package)` imports the package named ("unspool" or "torch") and returns a function without arguments: one
iteration of what is timed. Nothing here knows what that is.

Method: each peer is one process with one thread, pinned to one CPU (the same for both: they never run at the same
time). It warms up, then chooses how many iterations make a round last. Rounds are asked for in turn, A B A B, so that
a slow minute of the machine hits both. The figure of a peer is the median over its rounds; the ratio is the median of
the ratios of neighbouring rounds, and its spread is the middle half and the extremes of those.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Iteration = Callable[[], object]
Setup = Callable[[str], Iteration]

# Left over from tuning sessions, these slow NumPy's and PyTorch's BLAS down; a peer gets its own defaults.
UNSET = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "UNSPOOL_ISA")
ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def peer_environment() -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if name not in UNSET}
    return env | dict.fromkeys(ONE_THREAD, "1") | {"PYTHONHASHSEED": "0"}


def machine(cpu: int) -> dict[str, Any]:
    """Where the figures come from."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "cpu": model,
        "cpus": os.cpu_count(),
        "pinned_to": cpu,
        "threads": 1,
        "load": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }


# --- in the peer's process ----------------------------------------------------------------------------


def serve(setup: Setup, package: str, cpu: int, seconds: float) -> None:
    """Answers each line on standard input with the seconds an iteration took, over one round."""
    os.sched_setaffinity(0, {cpu})
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever the timed code prints goes elsewhere
    module = __import__(package)
    if hasattr(module, "set_num_threads"):
        module.set_num_threads(1)
    iteration = setup(package)

    def timed(count: int) -> float:
        start = time.perf_counter()
        for _ in range(count):
            iteration()
        return time.perf_counter() - start

    count = 1
    while timed(count) < seconds / 4:  # the warm-up too
        count *= 2
    count = max(1, round(count * seconds / timed(count)))
    numpy = sys.modules.get("numpy")
    about = {"version": module.__version__, "numpy": getattr(numpy, "__version__", None), "iterations": count}
    print(json.dumps(about), file=answers, flush=True)
    for _ in sys.stdin:
        print(timed(count) / count, file=answers, flush=True)


# --- in the asking process ----------------------------------------------------------------------------


class Peer:
    def __init__(self, package: str, cpu: int, seconds: float) -> None:
        command = [sys.executable, os.path.abspath(sys.argv[0]), "--peer", package]
        self.process = subprocess.Popen(
            [*command, "--cpu", str(cpu), "--seconds", str(seconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=peer_environment(),
        )
        self.package = package
        self.about = json.loads(self._answer())
        self.rounds: list[float] = []

    def _answer(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"the process of {self.process.args!r} ended early, with status {self.process.wait()}")
        return line

    def ask(self) -> None:
        assert self.process.stdin is not None
        print(file=self.process.stdin, flush=True)
        self.rounds.append(float(self._answer()))

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def spread(values: list[float]) -> dict[str, float]:
    first, _, third = statistics.quantiles(values, n=4) if len(values) > 1 else (values[0],) * 3
    return {
        "median": statistics.median(values),
        "quarter": first,
        "three_quarters": third,
        "least": min(values),
        "most": max(values),
    }


def compare(packages: list[str], cpu: int, seconds: float, rounds: int) -> dict[str, Any]:
    """The peers' rounds, in turn, and what they come to. The first package is divided by the second."""
    peers = [Peer(package, cpu, seconds) for package in packages]
    for _ in range(rounds):
        for peer in peers:
            peer.ask()
    for peer in peers:
        peer.close()
    result: dict[str, Any] = {
        "peers": [{"package": p.package, **p.about, "seconds": spread(p.rounds), "rounds": p.rounds} for p in peers]
    }
    if len(peers) == 2:
        result["ratio"] = spread([a / b for a, b in zip(*(p.rounds for p in peers), strict=True)])
    return result


def duration(seconds: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.4g} {unit}"
    return f"{seconds / 1e-9:.4g} ns"


def print_machine(about: dict[str, Any]) -> None:
    print("machine: " + ", ".join(f"{name} {value}" for name, value in about.items()))


def report(result: dict[str, Any], limit: float | None) -> None:
    print_machine(result["machine"])
    for peer in result["peers"]:
        s = peer["seconds"]
        versions = f"{peer['package']} {peer['version']}" + (f", numpy {peer['numpy']}" if peer["numpy"] else "")
        print(
            f"{versions}: {duration(s['median'])} an iteration (middle half {duration(s['quarter'])} to "
            f"{duration(s['three_quarters'])}; {len(peer['rounds'])} rounds of {peer['iterations']})"
        )
    if "ratio" in result:
        r = result["ratio"]
        line = (
            f"ratio: {r['median']:.4f} (middle half {r['quarter']:.4f} to {r['three_quarters']:.4f}, "
            f"all {r['least']:.4f} to {r['most']:.4f})"
        )
        if limit is not None:
            line += f"; at most {limit:.4f} is wanted: {'met' if r['median'] <= limit else 'NOT met'}"
        print(line)


def arguments(description: str | None) -> argparse.ArgumentParser:
    """The options that all benchmarks have."""
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15, help="of each peer (15)")
    parser.add_argument("--cpu", type=int, default=max(os.sched_getaffinity(0)), help="to pin to (the last)")
    parser.add_argument("--json", type=Path, help="write machine, versions and every round here")
    return parser


def write_json(path: Path | None, result: dict[str, Any]) -> None:
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def main(description: str | None, setup: Setup, *, limit: float | None = None, seconds: float = 0.3) -> None:
    """A comparing benchmark's command line."""
    parser = arguments(description)
    parser.add_argument("--seconds", type=float, default=seconds, help=f"a round lasts about this long ({seconds})")
    parser.add_argument("--peers", nargs="+", default=["unspool", "torch"], help="packages; the first is divided")
    parser.add_argument("--enforce", action="store_true", help="exit 1 where the ratio is above its limit")
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peer:
        serve(setup, args.peer, args.cpu, args.seconds)
        return
    result = {"benchmark": Path(sys.argv[0]).stem, "limit": limit, "machine": machine(args.cpu)}
    result |= compare(args.peers, args.cpu, args.seconds, args.rounds)
    report(result, limit)
    write_json(args.json, result)
    if args.enforce and limit is not None and result["ratio"]["median"] > limit:
        sys.exit(1)
