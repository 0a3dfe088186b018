"""`Monitor`: an eye on a training loop, one call a step, or a callback of a Trainer. It looks at the loss each time, at
the layers now and then.

Between samples a call is native (cpp/bindings/monitor.cpp) and takes some 40 ns. A sample reads gradients and weights
that are there anyway; there are no hooks, so frozen steps stay frozen.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from unspool import _core
from unspool.diagnose.columns import clipped, padded
from unspool.diagnose.findings import unlikely_share
from unspool.diagnose.parts import parts
from unspool.diagnose.statistics import as_matrix, norm_of

__all__ = ["Monitor", "Sample"]

_EVERY = 100
_WAIT = 0.05  # seconds between looks at a trainer's losses; a look after each short epoch takes 4 % of the time
_SHARE = 0.003  # of the time, for looks at the layers
_VOLATILE = 0.5  # standard deviation of the window's losses, as a part of their mean
_FLAT = 1e-4  # the same, where nothing moves
_PLATEAU = 0.02  # distance of the window's mean from the uninformed loss, as a part of that
_APART = 1e-6  # of the smallest gradient-to-weight ratio of a layer to the largest: the first layers stand still
_LARGE = 100.0  # of a gradient to its weight
_UPDATE = (1e-6, 0.1)  # of an update to its weight; 1e-3 is usual
_PASSING = {"non_finite", "volatile_loss", "plateau"}  # of losses: each window is asked whether it has passed


@dataclass(frozen=True)
class Sample:
    """What one look at the layers gave: by layer path, ‖∂loss/∂W‖ / ‖W‖, ‖ΔW‖ / ‖W‖ of the last step, and the share of
    units whose weights got no gradient at all. NaN where there was no gradient to look at."""

    step: int
    loss: float
    gradient: dict[str, float]
    update: dict[str, float]
    dead: dict[str, float]


class Monitor(_core.LossLog):
    """Call it with the loss after each step of the optimizer, gradients still in place; or give it to `Trainer.fit` as
    a callback, which calls it at the steps that it looks at.

    A line goes to `tell` when something turns bad: `non_finite`, `volatile_loss`, `flat_loss`, `plateau`,
    `vanishing_gradients`, `exploding_gradients`, `dying_units`, `large_updates`, `small_updates`. It comes again only
    after the trouble has passed. `str(monitor)` sums up; a Trainer's end does so through `tell`.

    Args:
        model: the Module that is trained.
        every: steps between looks at the layers; left out 100, or more where looks would take over 0.3 % of the time
            (the first, which tells how long one takes, comes after 100). The loss is looked at each time.
        uninformed: what the loss is for a prediction that ignores the input, ln C for C classes; for the plateau.
        window: steps that the loss is judged by.
        tell: where lines go.

    Raises:
        TypeError: model is no Module.
        ValueError: every or window is less than 2, or the model has no linear layers.
    """

    def __init__(
        self,
        model: Any,
        *,
        every: int | None = None,
        uninformed: float | None = None,
        window: int = 50,
        tell: Callable[[str], Any] = print,
    ) -> None:
        from unspool.nn import Module

        if not isinstance(model, Module):
            raise TypeError(f"Monitor: model must be a Module, got {type(model).__name__}")
        for name, value in (("every", every), ("window", window)):
            if (name, value) != ("every", None) and (type(value) is not int or value < 2):
                raise ValueError(f"Monitor: {name} must be an int of at least 2, got {value!r}")
        self._layers = {path: part for path, part in parts(model).items() if part.owns_weight and not part.aside}
        if not self._layers:
            raise ValueError(f"Monitor: the model ({model._get_name()}) has no linear layer with a weight of its own")
        self._every, self._uninformed, self._window, self._tell = every, uninformed, window, tell
        self._set_limits()
        self._next = every or _EVERY  # step of the next look
        self._since, self._begun = 0, 0.0  # the step and the time that the present pace is measured from
        self._spent = 0.0  # for the copies of the look to come
        self._before: dict[str, Any] = {}
        self._epoch = self._taken = 0  # of a trainer's losses: epochs, and batches of the next
        self._took = 0.0  # when that was
        self._bad: set[str] = set()
        self.samples: list[Sample] = []
        self.events: list[tuple[int, str, str]] = []

    if TYPE_CHECKING:

        def __call__(self, loss: Any) -> None:
            """Take note of a step, and of the layers at every `every`th."""

    def _set_limits(self) -> None:
        aim = math.nan if self._uninformed is None else self._uninformed
        self._judge_by(self._window, _FLAT, _VOLATILE, aim, _PLATEAU)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "losses": self.losses, "_wake": self._wake, "_troubled": self._troubled}

    def __setstate__(self, state: dict[str, Any]) -> None:
        losses = state.pop("losses")
        self._uninformed, self._window = state["_uninformed"], state["_window"]
        self._set_limits()
        for _ in self._remarkable(losses):
            pass
        for name, value in state.items():
            setattr(self, name, value)

    def _attend(self) -> None:
        """What is due at this step of a loop."""
        step = self.steps
        self._note()
        if step == 1:
            self._since, self._begun = 1, time.perf_counter()
        if step == self._next - 1:
            self._copy_weights()
        elif step >= self._next:
            self._look_in_time()
        self._wake = max(step + 1, self._next - 1)

    def _last(self) -> float:
        return self._between(self.steps - 1, self.steps)[0]

    def _note(self) -> None:
        """What there is to see in the last loss, and in the window that it ends."""
        value = self._last()
        if not math.isfinite(value):
            self._turn("non_finite", f"the loss is {value}")
        if self.steps % self._window == 0:
            self._judge_losses()

    def _take(self, *several: list[float]) -> None:
        """The losses of several steps."""
        for values in several:
            for _ in self._remarkable(values):
                self._note()

    def _remarkable(self, values: list[float]) -> Iterator[None]:
        """Takes the losses, and stops at each at which there is something to see."""
        taken = self._note_several(values, 0)
        while taken is not None:
            yield
            taken = self._note_several(values, taken)

    def _copy_weights(self) -> None:
        begun = time.perf_counter()
        self._before = {path: m.matrix.detach().clone() for path, m in self._layers.items()}
        self._spent = time.perf_counter() - begun

    def _look_in_time(self) -> None:
        """Look at the layers, and choose the next time so that looks have their share of the time at this pace."""
        begun, step = time.perf_counter(), self.steps
        self._look(step, self._last())
        now = time.perf_counter()
        a_step = max(begun - self._begun, 1e-9) / max(step - self._since, 1)
        rare = math.ceil((self._spent + now - begun) / (_SHARE * a_step))
        self._next = step + (self._every or max(_EVERY, rare))
        self._since, self._begun = step, now

    # As a Trainer's callback.

    gradients = True

    @property
    def every(self) -> int:
        """Steps until the next look at the layers."""
        return max(1, self._next - self.steps)

    def fit_begin(self, trainer: Any) -> None:
        """The pace is measured anew: there may have been a pause."""
        self._epoch, self._taken = len(trainer.history), 0
        self._since, self._begun = self.steps, time.perf_counter()
        self._took = self._begun

    def step_begin(self, trainer: Any) -> None:
        """The step to come will be looked at."""
        self._copy_weights()

    def step_end(self, trainer: Any) -> None:
        """Look where step_begin has come before, and now and then take the losses since the last time."""
        if self._before:
            self._take_fresh(trainer)
            self._look_in_time()
        elif time.perf_counter() - self._took > _WAIT:
            self._take_fresh(trainer)

    def _take_fresh(self, trainer: Any) -> None:
        """The losses of epochs that are over, and of this one so far."""
        over = trainer.history.batch_losses[self._epoch :]
        if over and self._taken:
            over[0], self._taken = over[0][self._taken :], 0
        self._epoch += len(over)
        last = trainer.losses_from(self._taken)
        self._taken += len(last)
        if over or last:
            self._take(*over, last)
        self._took = time.perf_counter()

    def fit_end(self, trainer: Any) -> None:
        """The report, with the steps before an error."""
        self._take_fresh(trainer)
        self._tell(str(self))

    def _turn(self, kind: str, text: str | None) -> None:
        """Something is bad (with what to say), or is not (None)."""
        if text is None:
            self._bad.discard(kind)
        elif kind not in self._bad:
            self._bad.add(kind)
            self.events.append((self.steps, kind, text))
            self._tell(f"step {self.steps}: {kind}: {text}")
        self._troubled = not self._bad.isdisjoint(_PASSING)

    def _judge_losses(self) -> None:
        (mean, spread), n, aim = self._window_numbers(), self._window, self._uninformed
        if not math.isfinite(mean):
            return
        flat, volatile, stuck = spread < _FLAT, spread > _VOLATILE, aim is not None and abs(mean - aim) < _PLATEAU * aim
        if volatile or stuck:
            window = self._between(self.steps - n, self.steps)
            first, second = window[: n // 2], window[n // 2 :]
            falls = sum(second) / len(second) < 0.9 * sum(first) / len(first)
            volatile, stuck = volatile and not falls, stuck and not falls
        self._turn("volatile_loss", f"it varies by {spread:.0%} over {n} steps" if volatile else None)
        self._turn("flat_loss", f"it stays at {mean:.6g} over {n} steps" if flat else None)
        self._turn("plateau", f"the loss stays at {mean:.4g}, what ignoring the input gives" if stuck else None)
        self._turn("non_finite", None)

    def _look(self, step: int, loss: float) -> None:
        gradient, update, dead = {}, {}, {}
        for path, part in self._layers.items():
            w = as_matrix(part.matrix)
            size = norm_of(w) or math.nan
            g = None if part.matrix_grad is None else as_matrix(part.matrix_grad)
            before = self._before.get(path)
            gradient[path] = norm_of(g) / size
            update[path] = math.nan if before is None else norm_of(w - as_matrix(before)) / size
            dead[path] = math.nan if g is None else float((~g.any(axis=1)).mean())
        self._before = {}
        sample = Sample(step, loss, gradient, update, dead)
        self.samples.append(sample)
        self._judge_layers(sample)

    def _judge_layers(self, s: Sample) -> None:
        known = {path: v for path, v in s.gradient.items() if math.isfinite(v)}
        if known:
            least, most = min(known, key=known.__getitem__), max(known, key=known.__getitem__)
            apart = known[least] < _APART * known[most] or known[most] == 0
            few = f"gradient / weight is {known[least]:.2g} at {least!r}, {known[most]:.2g} at {most!r}"
            self._turn("vanishing_gradients", few if apart else None)
            self._turn("exploding_gradients", few if known[most] > _LARGE else None)
        dying = [p for p, v in s.dead.items() if v > min(unlikely_share(len(self._layers[p].weight)), 0.999)]
        few = f"{s.dead[dying[0]]:.0%} of units at {dying[0]!r} get no gradient" if dying else ""
        self._turn("dying_units", few or None)
        moved = {path: v for path, v in s.update.items() if math.isfinite(v)}
        if moved:
            most = max(moved, key=moved.__getitem__)
            large, small = moved[most] > _UPDATE[1], moved[most] < _UPDATE[0]
            by = f"{moved[most]:.2g}"
            self._turn("large_updates", f"a step changes {most!r} by {by} of its size" if large else None)
            self._turn("small_updates", f"a step changes no layer by more than {by}" if small else None)

    def __str__(self) -> str:
        """The report at the end: steps, losses, events, and the last look at each layer."""
        if not self.steps:
            return "Monitor: no steps yet"
        (first,) = self._between(0, 1)
        lines = [f"Monitor: {self.steps} steps, loss {first:.4g} → {self._last():.4g}"]
        lines += [f"step {step}: {kind}: {text}" for step, kind, text in self.events] or ["nothing turned bad"]
        if self.samples:
            last = self.samples[-1]
            lines.append(f"{'layer at step ' + str(last.step):<30}{'grad/w':>10}{'update/w':>10}{'idle units':>12}")
            lines += [
                f"{padded(clipped(path, 28), 30)}{gradient:>10.2g}{last.update[path]:>10.2g}{last.dead[path]:>12.0%}"
                for path, gradient in last.gradient.items()
            ]
        return "\n".join(lines)
