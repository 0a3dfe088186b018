"""Turns the stored results (results/*.json) into README's section and the plot. Start at `section` and `draw`.

`python benchmarks/summary.py` rewrites both; run.py does so after measuring.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from report import PEAK, at_peak, bound, described, duration, peaks, three, versions

FOLDER = Path(__file__).resolve().parent
RESULTS = FOLDER / "results"
PLOT = RESULTS / "benchmarks.png"
README = FOLDER.parent / "README.md"
BEGIN, END = "<!-- benchmarks: begin, written by benchmarks/summary.py -->", "<!-- benchmarks: end -->"
LABELS = {"unspool": "unspool", "torch": "PyTorch", "jax": "JAX jit", "numpy": "NumPy by hand"}
COLOURS = {"unspool": "#0b6fb8", "torch": "#d9480f", "jax": "#2b8a3e", "numpy": "#868e96", PEAK: "black"}

Result = dict[str, Any]


def load(folder: Path = RESULTS) -> dict[str, Result]:
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}


def median(case: Result, peer: str) -> float | None:
    return case["peers"][peer]["seconds"]["median"] if peer in case["peers"] else None


# --- README -------------------------------------------------------------------------------------------


def row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def table(head: Iterable[str], rows: Iterable[Iterable[str]], numbers_from: int = 1) -> list[str]:
    head = list(head)
    rule = ["---" if i < numbers_from else "--:" for i in range(len(head))]
    return [row(*head), row(*rule), *(row(*cells) for cells in rows)]


def time_cell(case: Result, peer: str) -> str:
    seconds = median(case, peer)
    return "" if seconds is None else duration(seconds)


def rate_cell(case: Result, peer: str) -> str:
    seconds = median(case, peer)
    return "" if seconds is None else three(case["flops"] / seconds / 1e9)


def ratio_cells(case: Result, name: str) -> list[str]:
    """The ratio with its spread, and what is wanted of it."""
    for ratio in case["ratios"]:
        if ratio["name"] == name:
            s = ratio["value"]
            figure = f"{three(s['median'])} ({three(s['quarter'])} to {three(s['three_quarters'])})"
            return [figure, wanted(ratio)]
    return ["", ""]


def against_torch(case: Result) -> list[str]:
    return ratio_cells(case, "unspool/torch")


def wanted(ratio: Result) -> str:
    if ratio["met"] is None:
        return ""
    best = at_peak(ratio)
    text = f"{bound(ratio)}, {'met' if ratio['met'] else 'missed'}"
    return text if best is None else f"{text}; {three(best)} at the peak"


def steps(result: Result) -> list[str]:
    peers = ("unspool", "torch", "jax", "numpy", PEAK)
    head = ["network, batch, optimizer", "unspool", "PyTorch eager", "JAX jit", "NumPy by hand", "at the FMA peak"]
    rows = [
        [case["name"], *(time_cell(case, peer) for peer in peers), *against_torch(case)] for case in result["cases"]
    ]
    return table([*head, "unspool / PyTorch", "wanted"], rows)


def beside_both(result: Result, group: str, title: str) -> list[str]:
    """A line for each case of a group, beside PyTorch and JAX; none where that has not been measured."""
    rows = []
    for case in result["cases"]:
        if case["group"] == group:
            times = [time_cell(case, peer) for peer in ("unspool", "torch", "jax", PEAK)]
            rows.append([case["name"], *times, *ratio_cells(case, "unspool/torch"), *ratio_cells(case, "unspool/jax")])
    head = [title, "unspool", "PyTorch eager", "JAX jit", "at the FMA peak"]
    return [*table([*head, "unspool / PyTorch", "wanted", "unspool / JAX", "wanted"], rows), ""] if rows else []


def others(results: dict[str, Result]) -> list[str]:
    """A line for each of the other questions; of those with many cases, the ones named here."""
    chosen = {
        "op_overhead": ("`{}`, 4 elements", ("a + a", "a.sum().backward()")),
        "notes": ("{}, without its imports", ("the notes' program",)),
        "data_loader": (
            "a DataLoader's epoch: {}",
            ("100 × 15, batch 10, shuffled", "10000 × 794, batch 128, shuffled"),
        ),
        "trainer": ("two epochs of {}, batch 100", ("40-h-h-10, h to 64", "40-h-h-10, h to 400")),
        "optimizers": ("update of parameters: {}", ("1000 × 16, SGD", "1000 × 16, Adam")),
        "float64": ("step in float64: {}", ("10-40-40-5, 10", "784-256-256-10, 128")),
        "matmul": ("`a @ b`: {}", ("64³ float32", "1024³ float32", "128×784·784×256 NT")),
    }
    rows = []
    for benchmark, (text, names) in chosen.items():
        for case in results.get(benchmark, {"cases": []})["cases"]:
            if case["name"] in names:
                cells = [text.format(case["name"]), time_cell(case, "unspool"), time_cell(case, "torch")]
                rows.append([*cells, *against_torch(case)])
    footprint = {case["name"]: case for case in results.get("footprint", {"cases": []})["cases"]}
    if "unspool" in footprint:
        mine, theirs = footprint["unspool"], footprint.get("torch")
        for text, key, show in (
            ("import after NumPy", "seconds", duration),
            ("memory after 20 steps of 784-256-256-10", "trained_bytes", lambda size: f"{size / 2**20:.0f} MiB"),
        ):
            a, b = mine[key]["median"], theirs[key]["median"] if theirs else None
            rows.append([text, show(a), show(b) if b else "", three(a / b) if b else "", ""])
    return table(["", "unspool", "PyTorch", "unspool / PyTorch", "wanted"], rows)


def products(result: Result) -> list[str]:
    """A line for each of the products that stand in README, none where they have not been measured."""
    chosen = (
        *("16³", "32³", "48³", "10×40·40×40 NT", "10×40·40×40 NN", "40×10·10×40 TN"),
        *("64³", "32×64·64×64 NT", "32×64·64×64 NN", "64×32·32×64 TN"),
        *("128×784·784×256 NT", "128×256·256×784 NN", "256×128·128×784 TN", "512³", "1024³", "2048³", "1024³ f64"),
    )
    rows = []
    for case in result["cases"]:
        if case["name"] in chosen:
            rates = [rate_cell(case, peer) for peer in ("unspool", "openblas")]
            rows.append([case["name"], *rates, *ratio_cells(case, "of peak"), *ratio_cells(case, "× OpenBLAS")])
    head = ["product from C, GFLOP/s", "unspool", "OpenBLAS", "of the FMA peak", "wanted", "× OpenBLAS", "wanted"]
    return [*table(head, rows), ""] if rows else []


def sentences(results: dict[str, Result]) -> list[str]:
    found = []
    for case in results["step"]["cases"]:
        for ratio in case["ratios"]:
            if ratio["name"] == "unspool/jax":
                found.append(f"{case['name']}: {three(ratio['value']['median'])} of JAX's time ({wanted(ratio)}).")
    for limit in results.get("footprint", {}).get("limits", []):
        if limit["name"] == "wheel":
            found.append(f"The wheel has {limit['value'] / 1e6:.2f} MB (≤ 3, {'met' if limit['met'] else 'missed'}).")
    for case in results.get("threads", {"cases": []})["cases"]:
        values = {ratio["name"]: three(ratio["value"]["median"]) for ratio in case["ratios"]}
        if {"speedup", "FMA"} <= set(values) and case["name"].startswith("1024"):
            found.append(
                f"Two threads make a step of {case['name']} {values['speedup']} times as fast, and bare multiply-adds "
                f"{values['FMA']} times."
            )
    return found


def section(results: dict[str, Result]) -> str:
    """What stands between README's two marks."""
    step = results["step"]
    plot = PLOT.relative_to(README.parent)
    about = (
        f"Measured on {described(step['machine'])}: {versions(step)}; FMA peak {peaks(step['cases'])}. One thread "
        "each, medians, ratios with the middle half of their rounds. At the FMA peak: what a step's products alone "
        "would take at that rate, which no program can pass."
    )
    lines = [
        textwrap.fill(about, 120, break_long_words=False, break_on_hyphens=False),
        "",
        *steps(step),
        "",
        *beside_both(results.get("frozen", {"cases": []}), "frozen", "frozen step, SGD"),
        *beside_both(results.get("trainer", {"cases": []}), "epoch", "a step of Trainer's epoch, SGD"),
        *others(results),
        "",
        *products(results.get("gemm", {"cases": []})),
        *([textwrap.fill(" ".join(sentences(results)), 120, break_on_hyphens=False), ""] if sentences(results) else []),
        f"![Step times, products and sweeps, beside the FMA peak]({plot})",
    ]
    return "\n".join(lines)


def parts(readme: str) -> tuple[str, str, str]:
    before, rest = readme.split(BEGIN + "\n")
    inside, after = rest.split("\n" + END)
    return before, inside, after


def rewrite(results: dict[str, Result]) -> None:
    before, _, after = parts(README.read_text(encoding="utf-8"))
    README.write_text(f"{before}{BEGIN}\n{section(results)}\n{END}{after}", encoding="utf-8")


# --- the plot -----------------------------------------------------------------------------------------


def line(axes: Any, cases: list[Result], xs: list[float], peer: str, value: Any) -> None:
    points = [(x, value(case, peer)) for x, case in zip(xs, cases, strict=True) if peer in case["peers"]]
    if points:
        style = {"color": COLOURS[peer], "label": LABELS.get(peer, "FMA peak")}
        style |= {"linestyle": "--", "linewidth": 1.2} if peer == PEAK else {"marker": "o", "markersize": 4}
        axes.plot(*zip(*points, strict=True), **style)


def log_times(axes: Any) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda seconds, _: duration(seconds))


def draw_steps(axes: Any, result: Result) -> None:
    cases = [case for case in result["cases"] if case["group"] == "SGD"]
    peers = [peer for peer in LABELS if any(peer in case["peers"] for case in cases)]
    width = 0.8 / len(peers)
    for i, peer in enumerate(peers):
        bars = {
            j + (i + 0.5) * width - 0.4: median(case, peer) for j, case in enumerate(cases) if peer in case["peers"]
        }
        axes.bar(bars.keys(), bars.values(), width * 0.92, color=COLOURS[peer], label=LABELS[peer])
    for j, case in enumerate(cases):
        if PEAK in case["peers"]:
            label = "at the FMA peak" if j == 0 else None
            axes.hlines(median(case, PEAK), j - 0.42, j + 0.42, color=COLOURS[PEAK], linewidth=2, label=label)
    names = [case["name"].removesuffix(", SGD").replace(", ", "\nbatch ") for case in cases]
    axes.set_xticks(range(len(cases)), names, fontsize=7.5)
    axes.set_title("Training step, SGD with momentum")
    log_times(axes)
    axes.margins(x=0.02)


def sized(axes: Any, xs: list[float]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xticks(xs, [f"{x:.0f}" for x in xs])


def draw_sweep(axes: Any, result: Result, sweep: str, fixed: str, frozen: Result | None) -> None:
    cases = [case for case in result["cases"] if case["group"] == sweep]
    xs = [float(case["name"].split()[1]) for case in cases]
    for peer in ("unspool", "torch", "jax", PEAK):
        line(axes, cases, xs, peer, median)
    if frozen:
        cases = [case for case in frozen["cases"] if case["group"] == sweep]
        line(axes, cases, xs, "unspool", median)
        axes.get_lines()[-1].set(label="unspool frozen", linestyle=":")
    sized(axes, xs)
    log_times(axes)
    axes.set(xlabel=sweep, title=f"Step over {sweep} ({fixed})")


def draw_products(axes: Any, result: Result) -> None:
    cases = [case for case in result["cases"] if case["group"] == "cubes float32"]
    xs = [float(case["name"].partition("³")[0]) for case in cases]
    for peer in ("unspool", "torch", "numpy", PEAK):
        line(axes, cases, xs, peer, lambda case, peer: case["flops"] / median(case, peer) / 1e9)
    for drawn in axes.get_lines():
        if drawn.get_label() == LABELS["numpy"]:
            drawn.set_label("NumPy")
    sized(axes, xs)
    axes.set(yscale="log", xlabel="n", title="a @ b from Python, n × n, float32, GFLOP/s")
    axes.yaxis.set_major_formatter(lambda rate, _: three(rate))


def draw_ratios(axes: Any, results: dict[str, Result]) -> None:
    texts = {
        "op_overhead": "{}",
        "optimizers": "update {}",
        "data_loader": "epoch of {}",
        "notes": "{}",
        "float64": "float64 step {}",
    }
    rows = [
        (text.format(case["name"]), ratio["value"]["median"])
        for benchmark, text in texts.items()
        for case in results.get(benchmark, {"cases": []})["cases"]
        for ratio in case["ratios"]
        if ratio["name"] == "unspool/torch"
    ][::-1]
    bars = axes.barh(range(len(rows)), [value for _, value in rows], color=COLOURS["unspool"])
    axes.bar_label(bars, [three(value) for _, value in rows], fontsize=7, padding=2)
    axes.set_yticks(range(len(rows)), [name for name, _ in rows], fontsize=7)
    axes.axvline(1, color=COLOURS["torch"], linewidth=1.5)
    axes.set(xscale="log", title="unspool's time / PyTorch's (red line: as fast)")
    axes.xaxis.set_major_formatter(lambda ratio, _: three(ratio))
    axes.margins(y=0.01)


def draw(results: dict[str, Result], path: Path = PLOT) -> None:
    import matplotlib  # README's text does not need it

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, grid = plt.subplots(2, 3, figsize=(16, 9.5), layout="constrained", width_ratios=(1.25, 1, 1))
    panels = list(grid.flat)
    if "step" in results:
        draw_steps(panels[0], results["step"])
    if "matmul" in results:
        draw_products(panels[1], results["matmul"])
    draw_ratios(panels[2], results)
    if "sweeps" in results:
        draw_sweep(panels[3], results["sweeps"], "batch", "3 layers of 64", results.get("frozen"))
        draw_sweep(panels[4], results["sweeps"], "width", "3 layers, batch 64", results.get("frozen"))
        draw_sweep(panels[5], results["sweeps"], "depth", "layers of 64, batch 32", results.get("frozen"))
    for axes in panels:
        axes.grid(True, which="major", color="#dddddd", linewidth=0.7)
        axes.set_axisbelow(True)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=8, frameon=False)
    machine = next(iter(results.values()))["machine"]
    figure.suptitle(f"unspool's benchmarks, one thread on {machine['cpu']}, {machine['date']}", fontsize=14)
    figure.savefig(path, dpi=90, metadata={"Software": None})
    plt.close(figure)


if __name__ == "__main__":
    stored = load()
    draw(stored)
    rewrite(stored)
