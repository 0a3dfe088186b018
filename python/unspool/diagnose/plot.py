"""The picture of a report: variances forward and backward, histograms a layer, idle units. Needs matplotlib."""

from __future__ import annotations

import io
import math
import warnings
from typing import Any

import numpy as np

from unspool.diagnose.columns import clipped
from unspool.diagnose.render import verdict_label
from unspool.diagnose.statistics import Stats
from unspool.diagnose.verdict import TOTAL

__all__ = ["plot", "svg"]

_LN10 = math.log(10.0)
_BINS = 41
_REACH = 4.0  # standard deviations that a histogram shows
_LINE = 60  # characters that fit beside the idle units


def _figure() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("plot needs matplotlib: pip install 'unspool[report]'") from error
    figure = Figure(figsize=(11, 8.5))  # a layout that measures its texts would take most of the time
    figure.subplots_adjust(left=0.075, right=0.985, top=0.965, bottom=0.06, wspace=0.2, hspace=0.4)
    return figure


def _number_layers(axis: Any, count: int) -> None:
    axis.set_xlabel("linear layer")
    axis.set_xlim(0.5, count + 0.5)
    axis.xaxis.get_major_locator().set_params(integer=True)


def _chain(axis: Any, title: str, label: str, ln_vars: list[float], start: int, aside: Any) -> None:
    """Variances as powers of ten, which float64 need not hold, and the band within a factor of 1000 of `start`'s."""
    at = np.arange(1, len(ln_vars) + 1)
    powers = np.array([v / _LN10 if math.isfinite(v) else math.nan for v in ln_vars])
    if math.isfinite(powers[start]):
        reach = TOTAL / _LN10
        axis.axhspan(powers[start] - reach, powers[start] + reach, color="#d9f0d3", label="within a factor of 1000")
    axis.plot(at[~aside], powers[~aside], "o-", color="#2166ac", markersize=3, linewidth=1)
    if aside.any():
        axis.plot(at[aside], powers[aside], "x", color="#777777", markersize=3, label="queries and keys")
    axis.set_title(f"{title}: {label}", loc="left")
    axis.set_ylabel("variance")
    axis.yaxis.set_major_formatter(lambda value, _: f"$10^{{{value:.4g}}}$")
    axis.yaxis.get_major_locator().set_params(integer=True)
    low, high = axis.get_ylim()
    if high - low < 2:  # so that there is a whole power to name
        axis.set_ylim((low + high) / 2 - 1, (low + high) / 2 + 1)
    _number_layers(axis, len(ln_vars))
    if axis.get_legend_handles_labels()[0]:
        axis.legend(frameon=False, loc="best")


def _histograms(axis: Any, title: str, stats: list[Stats | None]) -> None:
    """A column a layer: how often each value but 0 occurs, in standard deviations of the layer."""
    image = np.zeros((_BINS, len(stats)))
    for column, s in enumerate(stats):
        if s is None or not s.finite or not math.isfinite(s.ln_var):
            continue
        seen = s.sample[s.sample != 0]  # a ReLU's mask leaves half of the gradients 0
        scaled = seen / (abs(seen).max() if seen.size else 1.0)  # squares of 1e-200 are none
        spread = scaled.std() or 1.0
        counts, _ = np.histogram((scaled - scaled.mean()) / spread, bins=_BINS, range=(-_REACH, _REACH))
        image[:, column] = counts / max(counts.max(), 1)
    axis.imshow(
        image, origin="lower", aspect="auto", cmap="Blues", extent=(0.5, len(stats) + 0.5, -_REACH, _REACH),
        interpolation="nearest",
    )  # fmt: skip
    axis.set_title(title, loc="left")
    axis.set_ylabel("standard deviations")
    _number_layers(axis, len(stats))


def _idle(axis: Any, layers: Any) -> None:
    at = np.arange(1, len(layers) + 1)
    axis.bar(at, [100 * x.dead for x in layers], color="#b2182b", label="dead units")
    axis.plot(at, [100 * x.saturated for x in layers], ".", color="#b35806", label="saturated values")
    axis.plot(at, [100 * x.always_on for x in layers], "_", color="#2166ac", label="units always on")
    axis.set_ylim(0, 122)  # the legend stands above the bars
    axis.set_yticks(range(0, 101, 20))
    axis.set_ylabel("%")
    _number_layers(axis, len(layers))
    axis.set_title("idle units", loc="left")
    axis.legend(frameon=False, ncols=3, loc="upper left", fontsize=8, columnspacing=1)


def plot(report: Any) -> Any:
    """The Figure of `Report.plot`; layers are numbered from 1 in the order of their calls."""
    figure = _figure()
    layers = report.facts.exact.layers
    top, middle, bottom = figure.subplots(3, 2)
    forward = [x.z.ln_var for x in layers]
    backward = [math.nan if x.gradient is None else x.gradient.ln_var for x in layers]
    aside = np.array([x.aside for x in layers])
    chain = np.flatnonzero(~aside)[: max(1, len(report.facts.chain))]
    _chain(top[0], "pre-activations", verdict_label(report, report.forward), forward, chain[0], aside)
    _chain(top[1], "gradients", verdict_label(report, report.backward), backward, chain[-1], aside)
    _histograms(middle[0], "pre-activations", [x.z for x in layers])
    _histograms(middle[1], "gradients", [x.gradient for x in layers])
    _idle(bottom[0], report.layers)
    bottom[1].axis("off")
    lines = [f"{f.severity}: {f.kind} {clipped(f.layer, _LINE - len(f.kind))}" for f in report.findings[:12]] or [
        "no findings"
    ]
    bottom[1].text(0, 1, "\n".join(lines), va="top", fontsize=9, parse_math=False)
    return figure


def svg(report: Any) -> str:
    """The picture as an <svg> element, to stand within a page."""
    figure = plot(report)
    from matplotlib import rc_context

    out = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "unspool"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # the reader's fonts draw it
        figure.savefig(out, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return out.getvalue()[out.getvalue().index("<svg") :]
