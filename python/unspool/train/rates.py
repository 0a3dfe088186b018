"""The learning-rate range test: how the loss answers to a rate that grows at every step."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["RateTest", "run_rate_test"]

_TOO_HIGH = 4.0  # times the least loss: the test is over
_SMOOTHING = 0.9


class RateTest:
    """`rates` and, of each, the batch's loss before the step: `losses`; `smooth` is their running mean."""

    def __init__(self, rates: list[float], losses: list[float]) -> None:
        self.rates, self.losses = rates, losses
        self.smooth: list[float] = []
        mean = 0.0
        for i, loss in enumerate(losses):
            mean = _SMOOTHING * mean + (1 - _SMOOTHING) * loss
            self.smooth.append(mean / (1 - _SMOOTHING ** (i + 1)))

    @property
    def suggestion(self) -> float | None:
        """Where the running mean falls most steeply; None where it never falls."""
        falls = [
            (after - before, rate)
            for before, after, rate in zip(self.smooth, self.smooth[1:], self.rates, strict=False)
        ]
        steepest = min(falls, default=(0.0, 0.0))
        return steepest[1] if steepest[0] < 0 else None

    def __repr__(self) -> str:
        found = "none" if self.suggestion is None else f"{self.suggestion:.3g}"
        return f"RateTest({len(self.rates)} rates from {self.rates[0]:.3g} to {self.rates[-1]:.3g}, suggestion={found})"

    def plot(self, path: Any = None) -> Any:
        """Loss over rate, the suggestion marked; matplotlib's Figure, also written to `path` if given.

        Raises:
            ImportError: matplotlib is not installed.
        """
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise ImportError("RateTest.plot needs matplotlib: pip install 'unspool[train]'") from error
        figure = Figure(figsize=(5, 3.5), layout="constrained")
        axes = figure.subplots()
        axes.plot(self.rates, self.losses, alpha=0.3, label="loss")
        axes.plot(self.rates, self.smooth, label="running mean")
        if self.suggestion is not None:
            axes.axvline(self.suggestion, linestyle=":", color="k", label=f"suggestion {self.suggestion:.2g}")
        axes.set(xscale="log", xlabel="learning rate", ylabel="loss")
        axes.grid(alpha=0.3)
        axes.legend()
        if path is not None:
            figure.savefig(path, dpi=120)
        return figure


def run_rate_test(
    source: Any, frozen: Any, optimizer: Any, own: list[float], start: float, stop: float, steps: int
) -> RateTest:
    """Train while the first group's rate grows from `start` to `stop`; the other groups' keep their ratios to it."""
    rates: list[float] = []
    losses: list[float] = []
    least, step = math.inf, 0
    source.start()
    if source.steps == 0:
        raise ValueError("rate_test: there is no batch")
    for i in range(steps):
        if source.steps is not None and step >= source.steps:
            source.start()
            step = 0
        rate = start * (stop / start) ** (i / (steps - 1))
        for group, mine in zip(optimizer.param_groups, own, strict=True):
            group["lr"] = rate * (mine / own[0] if own[0] else 1.0)
        done = source.run(frozen, step, step + 1, 0.0)
        if done == 0:
            source.start()
            step, done = 0, source.run(frozen, 0, 1, 0.0)
        if done == 0:
            raise ValueError(
                f"rate_test: {i} steps are done, and there is no batch; a generator gives its batches once"
            )
        step += done
        loss = source.losses(step)[-1]
        if not math.isfinite(loss):
            break
        rates.append(rate)
        losses.append(loss)
        least = min(least, loss)
        if loss > _TOO_HIGH * least and i > steps // 10:
            break
    if not rates:
        raise FloatingPointError("rate_test: the first loss is not finite")
    return RateTest(rates, losses)
