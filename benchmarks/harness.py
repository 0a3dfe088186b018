"""What all benchmarks share: peers in processes of their own, asked in turn, and what is printed of the answers.

Start reading at `main`. A benchmark is a script that calls `main(__doc__, cases, setup)`: `setup(peer, **arguments)`
imports the package that the peer is named after and returns a function without arguments, one iteration of what is
timed. Nothing here knows what that is. `report.py` prints the result.

Method: each peer is one process, pinned to one CPU (the same for all: they never run at the same time), or to as many
as it has threads. For each case it warms up, then chooses how many iterations make a round last. Rounds are asked for
in turn, A B C A B C, so that a slow minute of the machine hits all; one of them is "fma", which measures what the
CPU's arithmetic can do at that moment. CLOCKS says what they are read on. The figure of a peer is the median over its
rounds. A ratio is taken round by round; its figure is the median of those, its spread their middle half.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fma_peak
import openblas
import report

Iteration = Callable[[], object]
Setup = Callable[..., Iteration]

# Left over from tuning sessions, these slow NumPy's and PyTorch's BLAS down; a peer gets its own defaults.
UNSET = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "UNSPOOL_ISA", "UNSPOOL_NUM_THREADS")
ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
JAX = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"}

PEAK = "peak"  # in a Ratio: the time that a case's work takes at the FMA peak of the same round


@dataclass(frozen=True)
class Ratio:
    """over / under, round by round, of the times of peers (or PEAK), and what its median must reach."""

    over: tuple[str, ...]
    under: tuple[str, ...]
    at_most: float | None = None
    at_least: float | None = None
    text: str = ""  # what it is called where the peers' names do not say it

    def name(self) -> str:
        return self.text or "·".join(self.over) + "/" + "·".join(self.under)

    def met(self, value: float) -> bool | None:
        if self.at_most is None and self.at_least is None:
            return None
        return (self.at_most is None or value <= self.at_most) and (self.at_least is None or value >= self.at_least)


def against(peer: str, at_most: float | None = None) -> Ratio:
    return Ratio(("unspool",), (peer,), at_most=at_most)


def peak_share(at_least: float | None = None) -> Ratio:
    return Ratio((PEAK,), ("unspool",), at_least=at_least, text="of peak")


@dataclass(frozen=True)
class Case:
    """One thing that is timed. A peer is a package's name, "fma", "openblas", or one with its threads: "unspool@2"."""

    name: str
    peers: tuple[str, ...]
    arguments: dict[str, Any] = field(default_factory=dict)
    ratios: tuple[Ratio, ...] = ()
    flops: float | None = None  # of what is timed
    dtype: str = "float32"  # that the FMA peak is measured in
    group: str = ""  # cases that are drawn as one line
    per: int = 1  # what is timed stands this many times in an iteration; times are of one


def threads_of(peer: str) -> int:
    return int(peer.partition("@")[2] or 1)


def missing(peer: str) -> str | None:
    """Why a peer cannot be asked, or None."""
    package = peer.partition("@")[0]
    if package == "fma":
        return None if fma_peak.compiler() else "fma: left out, there is no C compiler"
    if package == "openblas":
        return None if openblas.path() else "openblas: left out, this NumPy brings none; a wheel from PyPI does"
    if importlib.util.find_spec(package) is None:
        return f"{package}: left out, it is not installed (pip install '.[bench]')"
    return None


def peer_environment() -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if name not in UNSET}
    return env | dict.fromkeys(ONE_THREAD, "1") | JAX | {"PYTHONHASHSEED": "0"}


def machine(cpus: Sequence[int]) -> dict[str, Any]:
    """Where the figures come from."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "cpu": model,
        "cpus": os.cpu_count(),
        "pinned_to": list(cpus),
        "load": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }


# --- in the peer's process ----------------------------------------------------------------------------


def about(package: str, module: Any) -> dict[str, Any]:
    """Version, instruction set and the library of matrix products, as far as the package tells."""
    if package == "openblas":
        return openblas.about()
    facts = {"version": module.__version__}
    if package == "unspool":
        config = dict(line.strip().split(": ", 1) for line in module.show_config().splitlines() if ": " in line)
        facts |= {"isa": config["instruction set"].split(" ")[0], "threads": config["threads"]}
    if package == "torch":
        facts |= {"isa": module.backends.cpu.get_cpu_capability().lower(), "threads": module.get_num_threads()}
    if package == "numpy":
        blas = module.show_config(mode="dicts")["Build Dependencies"]["blas"]
        facts["blas"] = f"{blas['name']} {blas['version']}"
    return facts


# What a round is read on. Where no peer has several threads it is the CPU time of its process, to which the time that
# other programs took in between does not count.
CLOCKS = {"CPU time": time.process_time, "wall clock": time.perf_counter}


def timed(iteration: Iteration, count: int, clock: Callable[[], float]) -> float:
    start = clock()
    for _ in range(count):
        result = iteration()
    if hasattr(result, "block_until_ready"):  # JAX may return before it has computed
        result.block_until_ready()
    return clock() - start


def serve(cases: Sequence[Case], setup: Setup, peer: str, cpus: Sequence[int]) -> None:
    """Answers each line on standard input, which is JSON. {"case": name, "seconds": s, "clock": c} prepares rounds of
    that length, {} runs one and gives the seconds that an iteration took."""
    package, threads = peer.partition("@")[0], threads_of(peer)
    os.sched_setaffinity(0, set(cpus[-threads:]))
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever the timed code prints goes elsewhere
    facts: dict[str, Any] = {}
    flops = None
    if package != "fma":
        module = importlib.import_module(package)
        if hasattr(module, "set_num_threads"):
            module.set_num_threads(threads)
        facts = about(package, module)

    for line in sys.stdin:
        asked = json.loads(line)
        if "case" in asked:
            case = next(case for case in cases if case.name == asked["case"])
            if package == "fma":
                probe = fma_peak.probe(case.dtype, threads)
                facts, iteration, per = {"isa": probe.isa}, probe.run, 1
                flops = probe.flops
            else:
                iteration, per = setup(package, **case.arguments), case.per
            clock = CLOCKS[asked["clock"]]
            iteration()  # compiles, where something does
            count = 1
            while (took := timed(iteration, count, clock)) < asked["seconds"] / 4:  # the warm-up too
                count *= 2
            count = max(1, round(count * asked["seconds"] / took))
            answer: Any = {"about": facts, "iterations": count, "flops": flops}
        else:
            answer = timed(iteration, count, clock) / (count * per)
        print(json.dumps(answer), file=answers, flush=True)


# --- in the asking process ----------------------------------------------------------------------------


class Peer:
    def __init__(self, name: str, cpus: Sequence[int]) -> None:
        command = [sys.executable, os.path.abspath(sys.argv[0]), "--peer", name, "--cpus", *map(str, cpus)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=peer_environment()
        )
        self.name = name
        self.about: dict[str, Any] = {}

    def ask(self, **question: Any) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(question), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"the process of {self.process.args!r} ended early, with status {self.process.wait()}")
        return json.loads(line)

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def rounded(value: float) -> float:
    """Five digits, which is more than is measured. What is measured, or follows from it, is rounded where it arises:
    what is stored and what is printed are then the same numbers."""
    return float(f"{value:.5g}")


def spread(values: Sequence[float]) -> dict[str, float]:
    first, _, third = statistics.quantiles(values, n=4) if len(values) > 1 else (values[0],) * 3
    return {
        "median": rounded(statistics.median(values)),
        "quarter": rounded(first),
        "three_quarters": rounded(third),
        "least": rounded(min(values)),
        "most": rounded(max(values)),
    }


def quotients(over: Sequence[str], under: Sequence[str], times: dict[str, list[float]]) -> list[float]:
    rounds = range(len(next(iter(times.values()))))
    return [math.prod(times[name][i] for name in over) / math.prod(times[name][i] for name in under) for i in rounds]


def ratios(case: Case, times: dict[str, list[float]]) -> list[dict[str, Any]]:
    """Those whose peers have answered. `best` is what a time at the FMA peak would have given."""

    def at_peak(names: Sequence[str]) -> list[str]:
        return [PEAK if name == "unspool" else name for name in names]

    found = []
    for ratio in case.ratios:
        if not {*ratio.over, *ratio.under} <= set(times):
            continue
        s = spread(quotients(ratio.over, ratio.under, times))
        best = None
        if PEAK in times:
            best = rounded(statistics.median(quotients(at_peak(ratio.over), at_peak(ratio.under), times)))
        found.append(
            {"name": ratio.name(), "at_most": ratio.at_most, "at_least": ratio.at_least}
            | {"met": ratio.met(s["median"]), "best": best, "value": s}
        )
    return found


def measure(case: Case, peers: Sequence[Peer], clock: str, seconds: float, rounds: int) -> dict[str, Any]:
    """The rounds of one case, in turn, and what they come to. Times are seconds an iteration; of "fma", a FLOP."""
    ready = {peer.name: peer.ask(case=case.name, seconds=seconds, clock=clock) for peer in peers}
    for peer in peers:
        peer.about = ready[peer.name]["about"]
    times: dict[str, list[float]] = {peer.name: [] for peer in peers}
    for _ in range(rounds):
        for peer in peers:
            times[peer.name].append(rounded(peer.ask() / (ready[peer.name]["flops"] or 1)))
    result: dict[str, Any] = {"name": case.name, "group": case.group, "dtype": case.dtype, "flops": case.flops}
    if "fma" in times:
        result["peak_gflops"] = spread([1e-9 / t for t in times["fma"]])
        if case.flops is not None:
            times[PEAK] = [rounded(case.flops * t) for t in times["fma"]]
    result["peers"] = {name: {"seconds": spread(t), "rounds": t} for name, t in times.items()}
    result["ratios"] = ratios(case, times)
    return result


def write_json(path: Path | None, result: dict[str, Any]) -> None:
    """A line for each entry, and one for each case. Read again, it is `result`."""
    if path is None:
        return
    lines = []
    for key, value in result.items():
        text = json.dumps(value, ensure_ascii=False)
        if key == "cases":
            text = "[\n  " + ",\n  ".join(json.dumps(case, ensure_ascii=False) for case in value) + "\n ]"
        lines.append(f" {json.dumps(key)}: {text}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def arguments(description: str | None, seconds: float, rounds: int) -> argparse.ArgumentParser:
    """The options that all benchmarks have."""
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=rounds, help=f"of each peer ({rounds})")
    parser.add_argument("--seconds", type=float, default=seconds, help=f"a round lasts about this long ({seconds})")
    parser.add_argument("--cpus", type=int, nargs="+", default=sorted(os.sched_getaffinity(0)), help="to pin to (last)")
    parser.add_argument("--json", type=Path, help="write machine, versions and every round here")
    parser.add_argument("--cases", nargs="+", help="only those whose names contain one of these")
    parser.add_argument("--peers", nargs="+", help="only these")
    parser.add_argument("--enforce", action="store_true", help="exit 1 where a limit is passed")
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    return parser


def main(
    description: str | None,
    cases: Sequence[Case],
    setup: Setup,
    *,
    seconds: float = 0.1,
    rounds: int = 15,
    rates: bool = False,
    prepare: Callable[[], str | None] = lambda: None,
) -> None:
    """A benchmark's command line. With `rates` it prints GFLOP/s in place of times. `prepare` makes what the peers need
    before they start, or says what it wants for that."""
    args = arguments(description, seconds, rounds).parse_args()
    if args.peer:
        serve(cases, setup, args.peer, args.cpus)
        return
    chosen = [case for case in cases if not args.cases or any(part in case.name for part in args.cases)]
    names = list(dict.fromkeys(peer for case in chosen for peer in case.peers if not args.peers or peer in args.peers))
    for reason in filter(None, map(missing, names)):
        print(reason)
    names = [name for name in names if missing(name) is None]
    most = max(map(threads_of, names))
    wants = f"it wants {most} CPUs, and this process may use {len(args.cpus)}" if len(args.cpus) < most else prepare()
    if wants:
        print(f"skipped: {wants}")
        return
    result = {
        "benchmark": Path(sys.argv[0]).stem,
        "question": (description or "").splitlines()[0],
        "rates": rates,
        "clock": "CPU time" if most == 1 else "wall clock",
        "machine": machine(args.cpus[-most:]),
        "peers": {},
        "cases": [],
    }
    report.print_head(result)
    peers = {name: Peer(name, args.cpus) for name in names}
    for case in chosen:
        asked = [peers[name] for name in case.peers if name in peers]
        result["cases"].append(measure(case, asked, result["clock"], args.seconds, args.rounds))
        print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    for name, peer in peers.items():
        peer.close()
        result["peers"][name] = peer.about
    report.print_cases(result)
    write_json(args.json, result)
    if args.enforce and any(ratio["met"] is False for case in result["cases"] for ratio in case["ratios"]):
        sys.exit(1)
