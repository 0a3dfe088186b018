"""What a terminal of 80 columns shows of a benchmark's result, which is what its JSON file holds.

`python benchmarks/report.py benchmarks/results/*.json` shows stored ones again.
"""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path
from typing import Any

WIDTH = 80
PEAK = "peak"


def three(value: float) -> str:
    """Three digits, without an exponent."""
    digits = f"{value:.3g}"
    return f"{value:.0f}" if "e+" in digits else digits


def duration(seconds: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= 0.9995 * scale:
            return f"{three(seconds / scale)} {unit}"
    return f"{three(seconds / 1e-9)} ns"


def wrapped(text: str) -> str:
    return textwrap.fill(text, WIDTH, subsequent_indent="  ", break_on_hyphens=False, break_long_words=False)


def described(machine: dict[str, Any]) -> str:
    pinned = " and ".join(map(str, machine["pinned_to"]))
    return (
        f"{machine['cpu']}, {machine['cpus']} CPUs, pinned to {pinned}, load {machine['load']}, "
        f"{machine['system']}, Python {machine['python']}, {machine['date']}"
    )


def versions(result: dict[str, Any]) -> str:
    """Of the peers, with what each says of itself."""
    parts = []
    for name, about in result["peers"].items():
        extra = [about[key] for key in ("isa", "blas") if key in about]
        if "threads" in about:
            extra.append(f"{about['threads']} thread" + ("" if int(about["threads"]) == 1 else "s"))
        parts.append(" ".join([name, about.get("version", "")]).strip() + (f" ({', '.join(extra)})" if extra else ""))
    return ", ".join(parts)


def peaks(cases: list[dict[str, Any]]) -> str:
    """The FMA peak over all cases of a dtype: the median of medians, the extremes of all rounds."""
    parts = []
    for dtype in dict.fromkeys(case["dtype"] for case in cases):
        found = [case["peak_gflops"] for case in cases if case["dtype"] == dtype and "peak_gflops" in case]
        if found:
            median = sorted(peak["median"] for peak in found)[len(found) // 2]
            least, most = min(peak["least"] for peak in found), max(peak["most"] for peak in found)
            parts.append(f"{three(median)} GFLOP/s in {dtype} (all {three(least)} to {three(most)})")
    return "; ".join(parts)


def at_peak(ratio: dict[str, Any]) -> float | None:
    """What a ratio would be at the FMA peak, where even that is not what is wanted."""
    best, most, least = ratio["best"], ratio["at_most"], ratio["at_least"]
    if best is None or not ((most is not None and best > most) or (least is not None and best < least)):
        return None
    return best


def bound(ratio: dict[str, Any]) -> str:
    return f"≤ {three(ratio['at_most'])}" if ratio["at_most"] is not None else f"≥ {three(ratio['at_least'])}"


def print_head(result: dict[str, Any]) -> None:
    print(wrapped(f"{result['benchmark']}: {result['question']}"))
    print(wrapped(f"machine: {described(result['machine'])}"))


def print_cases(result: dict[str, Any]) -> None:
    cases = result["cases"]
    print(wrapped(f"peers: {versions(result)}"))
    if peaks(cases):
        print(wrapped(f"FMA peak: {peaks(cases)}"))
    rounds = len(next(iter(cases[0]["peers"].values()))["rounds"])
    figure = "GFLOP/s" if result["rates"] else "time an iteration"
    print(f"{figure} ({result['clock']}), median of {rounds} rounds\n")

    peers = [name for name in dict.fromkeys(name for case in cases for name in case["peers"]) if name[:3] != "fma"]
    # A ratio with a limit gets a line below, one without a column.
    columns = list(dict.fromkeys(r["name"] for case in cases for r in case["ratios"] if r["met"] is None))
    first = max(len(case["name"]) for case in cases) + 1
    heads = [name.removeprefix("unspool") for name in columns]
    wide = max([8 if result["rates"] else 10, *(len(name) + 1 for name in peers)])
    print(" " * first + "".join(f"{name:>{wide}}" for name in peers) + "".join(f"{name:>8}" for name in heads))
    for case in cases:
        line = f"{case['name']:{first}}"
        for name in peers:
            seconds = case["peers"].get(name, {}).get("seconds", {}).get("median")
            figure = three(case["flops"] / seconds / 1e9) if seconds and result["rates"] else duration(seconds or 0)
            line += f"{figure if seconds else '':>{wide}}"
        found = {ratio["name"]: ratio["value"]["median"] for ratio in case["ratios"]}
        print(line + "".join(f"{three(found[name]) if name in found else '':>8}" for name in columns))

    limits = [(case["name"], ratio) for case in cases for ratio in case["ratios"] if ratio["met"] is not None]
    if limits:
        print("\nratios: median (middle half), what is wanted, met or NO; peak: at the FMA peak")
    second = max((len(ratio["name"].removeprefix("unspool")) for _, ratio in limits), default=0) + 1
    for name, ratio in limits:
        s = ratio["value"]
        figure = f"{three(s['median'])} ({three(s['quarter'])}-{three(s['three_quarters'])})"
        verdict = "met" if ratio["met"] else "NO"
        best = at_peak(ratio)
        if best is not None:
            verdict += f"; peak {three(best)}"
        print(f"{name:{first}}{ratio['name'].removeprefix('unspool'):{second}}{figure:23}{bound(ratio):9}{verdict}")


if __name__ == "__main__":
    for path in sys.argv[1:]:
        stored = json.loads(Path(path).read_text(encoding="utf-8"))
        print_head(stored)
        print_cases(stored)
        print()
