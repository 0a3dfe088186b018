"""What keeps a training whole: Ctrl-C between steps, a failed start undone, checkpoints read."""

from __future__ import annotations

import copy
import signal
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from unspool import _core
from unspool.autograd.grad_mode import no_grad

if TYPE_CHECKING:
    from unspool.train.trainer import Trainer

__all__ = ["Interrupts", "Undo", "checkpoint", "states"]

_KEYS = (
    "model", "optimizer", "scheduler", "random_state", "generator", "epoch", "step", "begun", "order", "losses",
    "kept", "sizes", "lr", "history", "callbacks",
)  # fmt: skip


class Interrupts:
    """Ctrl-C waits for the end of a step; a second one does not. In the main thread, with Python's own handler."""

    def __enter__(self) -> Interrupts:
        self.inside = self.seen = False
        self._installed = (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        )
        if self._installed:
            signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *_: Any) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _handle(self, *_: Any) -> None:
        if self.inside and not self.seen:
            self.seen = True
        else:
            raise KeyboardInterrupt

    def raise_now(self) -> None:
        """Raise what has waited."""
        if self.seen:
            raise KeyboardInterrupt


def states(generator: Any) -> list[Any]:
    """The global random state, and the generator's own."""
    return [_core.get_rng_state(), None if generator is None else generator.get_state()]


class Undo:
    """Puts back, when called, random states, gradients and buffers; where `weights`, all of the state, too."""

    def __init__(self, trainer: Trainer, generator: Any, weights: bool) -> None:
        self._trainer, self._generator = trainer, generator
        self._random = states(generator)
        self._gradients = [(p, p.grad) for group in trainer.optimizer.param_groups for p in group["params"]]
        self._buffers = [(t, t.clone()) for t in trainer.model.buffers()]
        self._state = copy.deepcopy(trainer._state()) if weights else None

    def __call__(self) -> None:
        if self._state is not None:
            self._trainer._restore(self._state)
        for p, grad in self._gradients:
            p.grad = grad
        with no_grad():
            for t, kept in self._buffers:
                t.copy_(kept)
        _core.set_rng_state(self._random[0])
        if self._generator is not None:
            self._generator.set_state(self._random[1])


def checkpoint(resume: Any) -> Mapping[str, Any]:
    """What a path or a mapping holds, if it is a trainer's state."""
    if isinstance(resume, Mapping):
        state = resume
    else:
        from unspool import load

        state = load(resume)
    for key in _KEYS:
        if key not in state:
            raise ValueError(f"fit: resume must be what a Trainer saved; {resume!r:.60} lacks {key!r}")
    return state
