"""What a Trainer calls back. Any object will do that has some of Callback's methods."""

from __future__ import annotations

import copy
import math
from typing import Any

from unspool._files import check_replaceable
from unspool.train.metrics import BETTER_ABOVE

__all__ = ["Callback", "Checkpoint", "EarlyStopping", "Watch", "listed", "restored", "states_of"]


class Callback:
    """A Trainer calls these during `fit`, in the order in which the callbacks are given.

    Each gets the trainer, which has `epoch` and `step` (both from 0; steps of this epoch that are done), `epochs`,
    `model`, `optimizer`, `scheduler`, `losses` (the epoch's batch losses so far), and `history`. Setting
    `trainer.stop = True` ends the training after the present step. What a callback raises ends it, too, and leaves the
    model after a whole number of steps.

    `every`: step_end is called so many steps after the fit's start or its last call, and after each epoch's last step.
    It is read anew each time. None: never, so that whole epochs run natively.

    `gradients`: where `every` is due, step_begin is called before the step, and step_end while the parameters still
    have its gradients, which are else dropped at once.
    """

    every: int | None = None
    gradients: bool = False

    def fit_begin(self, trainer: Any) -> None:
        """Before the first epoch."""

    def epoch_begin(self, trainer: Any) -> None:
        """Before the epoch's first batch."""

    def step_begin(self, trainer: Any) -> None:
        """Before a step, see `gradients`."""

    def step_end(self, trainer: Any) -> None:
        """After a step, see `every`."""

    def epoch_end(self, trainer: Any) -> None:
        """After the epoch's numbers are in `trainer.history`."""

    def fit_end(self, trainer: Any) -> None:
        """After the last epoch, also where an error ends the training."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps of this callback."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what state_dict gave."""


_CALLED = [name for name in vars(Callback) if name.endswith(("_begin", "_end"))]


def listed(callbacks: Any) -> list[Any]:
    """The callbacks.

    Raises:
        TypeError: a single one, a class, or what has none of Callback's methods.
    """
    try:
        found = list(callbacks)
    except TypeError:
        raise TypeError(f"fit: callbacks must be a list of them, got {callbacks!r:.60}") from None
    for callback in found:
        if isinstance(callback, (type, str)):
            raise TypeError(f"fit: callbacks must be objects, got {callback!r:.60}")
        if not any(callable(getattr(callback, name, None)) for name in _CALLED):
            raise TypeError(f"fit: callbacks must have one of {', '.join(_CALLED)}; {callback!r:.60} has none")
    return found


def restored(callbacks: list[Any], saved: list[dict[str, Any]]) -> None:
    """Each goes on from the first state of its class that is not taken; one that has none there starts anew."""
    left = list(saved)
    for callback in callbacks:
        at = next((i for i, own in enumerate(left) if own["class"] == type(callback).__name__), None)
        if at is not None and hasattr(callback, "load_state_dict"):
            callback.load_state_dict(left.pop(at)["state"])


def states_of(callbacks: list[Any]) -> list[dict[str, Any]]:
    """What `restored` takes."""
    return [{"class": type(c).__name__, "state": c.state_dict() if hasattr(c, "state_dict") else {}} for c in callbacks]


class Watch:
    """When a callback's step_end is due, in steps since the fit's start."""

    def __init__(self, callback: Any) -> None:
        self.callback = callback
        self.gradients = bool(getattr(callback, "gradients", False))
        self.due = self.called = 0
        self.again(0)

    def again(self, now: int) -> None:
        """It has been called."""
        every = self.callback.every
        if type(every) is not int or every < 1:
            raise ValueError(f"fit: {type(self.callback).__name__}.every must be an int of at least 1, got {every!r}")
        self.due, self.called = now + every, now

    def limit(self, now: int) -> int:
        """How many steps may run natively from here on, at least one."""
        return max(1, self.due - now - self.gradients)


class _Best:
    """The best value so far of a number of the history."""

    def __init__(self, op: str, monitor: str, mode: str, min_delta: float = 0.0) -> None:
        if mode not in ("auto", "min", "max"):
            raise ValueError(f'{op}: mode must be "auto", "min" or "max", got {mode!r}')
        self.op, self.monitor, self.min_delta = op, monitor, min_delta
        above = mode == "max" or (mode == "auto" and monitor.removeprefix("val_") in BETTER_ABOVE)
        self.sign = -1.0 if above else 1.0
        self.value = math.inf

    def improved(self, trainer: Any) -> bool:
        last = trainer.history.last()
        if self.monitor not in last:
            raise ValueError(f"{self.op}: no {self.monitor!r} in the history, which has {', '.join(last)}")
        value = self.sign * last[self.monitor]
        if not value < self.value - self.min_delta:  # NaN is no improvement
            return False
        self.value = value
        return True


class EarlyStopping(Callback):
    """Stops when a number of the history has not become better for `patience` epochs.

    Args:
        monitor: the number's name, such as "val_loss".
        patience: epochs without improvement, at least 1.
        min_delta: by how much it must be better to count, at least 0.
        mode: "min", "max", or "auto": "max" for accuracy and r2.
        restore_best: give the model the best epoch's weights and buffers in the end.

    Raises:
        ValueError: an argument out of its range, or a name that the history lacks.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 5,
        min_delta: float = 0.0,
        mode: str = "auto",
        restore_best: bool = True,
    ) -> None:
        if type(patience) is not int or patience < 1:
            raise ValueError(f"EarlyStopping: patience must be an int of at least 1, got {patience!r}")
        if not min_delta >= 0:
            raise ValueError(f"EarlyStopping: min_delta must be at least 0, got {min_delta!r}")
        self.patience = patience
        self.restore_best = restore_best
        self._best = _Best("EarlyStopping", monitor, mode, min_delta)
        self._weights: dict[str, Any] | None = None
        self.best_epoch = -1
        self.waited = 0

    def fit_begin(self, trainer: Any) -> None:
        if trainer.epoch == 0:
            self._best.value, self._weights, self.best_epoch, self.waited = math.inf, None, -1, 0

    def epoch_end(self, trainer: Any) -> None:
        if self._best.improved(trainer):
            self.best_epoch, self.waited = trainer.epoch, 0
            if self.restore_best:
                self._weights = copy.deepcopy(trainer.model.state_dict())
            return
        self.waited += 1
        if self.waited >= self.patience:
            trainer.stop = True

    def fit_end(self, trainer: Any) -> None:
        if self._weights is not None and not trainer.failed:
            trainer.model.load_state_dict(self._weights)

    def state_dict(self) -> dict[str, Any]:
        return {
            "best": self._best.value,
            "best_epoch": self.best_epoch,
            "waited": self.waited,
            "weights": self._weights,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._best.value, self.best_epoch, self.waited = state["best"], state["best_epoch"], state["waited"]
        self._weights = state["weights"]


class Checkpoint(Callback):
    """Saves the trainer's whole state, from which `fit(resume=path)` goes on to the bit.

    Args:
        path: of the file; "{epoch}" in it becomes the epoch's number.
        every_epochs: save after every so many epochs, and after the last.
        best: save only where this number of the history has become better, such as "val_loss".
        mode: as EarlyStopping's, for `best`.

    Raises:
        ValueError: an argument out of its range, or a name that the history lacks.
        OSError: the file cannot be written: before the first epoch, as far as that can be seen then. Later the training
            stops. An older file is intact.
    """

    def __init__(self, path: Any, every_epochs: int = 1, best: str | None = None, mode: str = "auto") -> None:
        if type(every_epochs) is not int or every_epochs < 1:
            raise ValueError(f"Checkpoint: every_epochs must be an int of at least 1, got {every_epochs!r}")
        self.path = str(path)
        self.every_epochs = every_epochs
        self._best = None if best is None else _Best("Checkpoint", best, mode)

    def _path(self, trainer: Any) -> str:
        return self.path.replace("{epoch}", str(trainer.epoch))

    def fit_begin(self, trainer: Any) -> None:
        check_replaceable(self._path(trainer), "Checkpoint")

    def epoch_end(self, trainer: Any) -> None:
        due = (trainer.epoch + 1) % self.every_epochs == 0 or trainer.epoch + 1 == trainer.epochs or trainer.stop
        if self._best is not None:
            due = self._best.improved(trainer)
        if due:
            trainer.save(self._path(trainer))

    def state_dict(self) -> dict[str, Any]:
        return {} if self._best is None else {"best": self._best.value}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self._best is not None and "best" in state:
            self._best.value = state["best"]
