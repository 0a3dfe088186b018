"""What keeps a training whole: Ctrl-C between steps, a failed start undone, the state that a checkpoint holds."""

from __future__ import annotations

import copy
import signal
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from unspool import _core
from unspool._interrupts import set_sigint, sigint
from unspool.autograd.grad_mode import no_grad
from unspool.train.callbacks import restored, states_of
from unspool.train.data import Rows, Stream
from unspool.train.history import History

if TYPE_CHECKING:
    from unspool.train.trainer import Trainer

__all__ = ["Interrupts", "Undo", "checkpoint", "parts_of", "resume", "state_of"]

_KEYS = (
    "model", "optimizer", "scheduler", "random_state", "generator", "epoch", "step", "begun", "order", "losses",
    "kept", "sizes", "lr", "history", "callbacks",
)  # fmt: skip


class Interrupts:
    """Ctrl-C waits for the end of a step; a second one does not. In the main thread, with Python's own handler."""

    def __enter__(self) -> Interrupts:
        self.inside = self.seen = False
        self._installed = (
            threading.current_thread() is threading.main_thread() and sigint() is signal.default_int_handler
        )
        if self._installed:
            set_sigint(self._handle)
        return self

    def __exit__(self, *_: Any) -> None:
        if self._installed:
            set_sigint(signal.default_int_handler)

    def _handle(self, *_: Any) -> None:
        if self.inside and not self.seen:
            self.seen = True
        else:
            raise KeyboardInterrupt

    def raise_now(self) -> None:
        """Raise what has waited."""
        if self.seen:
            raise KeyboardInterrupt


def _random_states(generator: Any) -> list[Any]:
    """The global one, and the generator's own."""
    return [_core.get_rng_state(), None if generator is None else generator.get_state()]


def _trained(trainer: Trainer) -> dict[str, Any]:
    """The states of what a step changes."""
    return {
        "model": trainer.model.state_dict(),
        "optimizer": trainer.optimizer.state_dict(),
        "scheduler": None if trainer.scheduler is None else trainer.scheduler.state_dict(),
    }


def _put_back(trainer: Trainer, state: Mapping[str, Any]) -> None:
    trainer.model.load_state_dict(state["model"])
    trainer.optimizer.load_state_dict(state["optimizer"])
    if trainer.scheduler is not None:
        trainer.scheduler.load_state_dict(state["scheduler"])


class Undo:
    """Puts back, when called, random states, gradients and buffers; where `weights`, all of the state, too."""

    def __init__(self, trainer: Trainer, generator: Any, weights: bool) -> None:
        self._trainer, self._generator = trainer, generator
        self._random = _random_states(generator)
        self._gradients = [(p, p.grad) for group in trainer.optimizer.param_groups for p in group["params"]]
        self._buffers = [(t, t.clone()) for t in trainer.model.buffers()]
        self._state = copy.deepcopy(_trained(trainer)) if weights else None

    def __call__(self) -> None:
        if self._state is not None:
            _put_back(self._trainer, self._state)
        for p, grad in self._gradients:
            p.grad = grad
        with no_grad():
            for t, kept in self._buffers:
                t.copy_(kept)
        _core.set_rng_state(self._random[0])
        if self._generator is not None:
            self._generator.set_state(self._random[1])


def state_of(trainer: Trainer) -> dict[str, Any]:
    """What `resume` goes on from; not a copy."""
    over = len(trainer.history) > trainer.epoch  # within epoch_end
    feed = None if over else trainer._feed
    random, own = _random_states(trainer._generator)
    return {
        **_trained(trainer),
        "random_state": random,
        "generator": own,
        "epoch": trainer.epoch + over,
        "step": 0 if feed is None else trainer.step,
        "begun": feed is not None,
        "order": None if feed is None else feed.order,
        "losses": [] if feed is None else feed.losses(trainer.step),
        "kept": [] if feed is None or trainer.step == 0 else feed.kept(),
        "sizes": None if feed is None else feed.sizes,
        "lr": trainer._lr,
        "history": trainer.history.to_dict(),
        "callbacks": states_of(trainer._callbacks),
    }


def parts_of(trainer: Trainer) -> dict[str, Any]:
    """What a copy or a pickle has: what the trainer is made of, and how far it is; no plans, and no data."""
    if trainer._lock.locked():
        raise RuntimeError("Trainer: it is training; it can be copied afterwards, and state_dict() copies its state")
    clip_norm, clip_value = trainer._clipping
    return {
        "made_of": (trainer.model, trainer.loss, trainer.optimizer, trainer.scheduler),
        "arguments": {
            "metrics": trainer.metrics,
            "clip_norm": clip_norm,
            "clip_value": clip_value,
            "accumulate": trainer._accumulate,
            "schedule": "step" if trainer._by_step else "epoch",
            "nonfinite": "raise" if trainer._finite else "continue",
        },
        "progress": {name: getattr(trainer, name) for name in ("history", "epoch", "step", "epochs", "stop", "failed")},
    }


def checkpoint(given: Any) -> Mapping[str, Any]:
    """What a path or a mapping holds, if it is a trainer's state."""
    if isinstance(given, Mapping):
        state = given
    else:
        from unspool import load

        state = load(given)
    for key in _KEYS:
        if key not in state:
            raise ValueError(f"fit: resume must be what a Trainer saved; {given!r:.60} lacks {key!r}")
    return state


def _one(scheduler: Any) -> str:
    return "no scheduler" if scheduler is None else "a scheduler"


def resume(trainer: Trainer, state: Mapping[str, Any], source: Rows | Stream) -> None:
    """Bring the trainer to what `state_of` gave, where the data allow it."""
    if (state["scheduler"] is None) != (trainer.scheduler is None):
        raise ValueError(
            f"fit: resume: {_one(state['scheduler'])} was saved, and this trainer has {_one(trainer.scheduler)}"
        )
    if state["begun"] and isinstance(source, Rows):
        if state["sizes"] != source.sizes:
            raise ValueError(
                "fit: resume: the checkpoint is from the middle of an epoch of [rows, batch_size, accumulate] "
                f"{state['sizes']}, and now they are {source.sizes}"
            )
        if state["step"] and bool(state["kept"]) != bool(trainer.metrics):
            raise ValueError(
                "fit: resume: the checkpoint is from the middle of an epoch, "
                f"{'with' if state['kept'] else 'without'} metrics, unlike this trainer"
            )
    _put_back(trainer, state)
    _core.set_rng_state(state["random_state"])
    if trainer._generator is not None and state["generator"] is not None:
        trainer._generator.set_state(state["generator"])
    trainer.history = History.from_dict(state["history"])
    trainer.epoch, trainer.step, trainer._lr = state["epoch"], state["step"], state["lr"]
    # Schedules warn where this is missing, and the file may be from between an epoch's steps and its end.
    trainer.optimizer._opt_called = True
    if state["begun"]:
        source.resume(state["order"], state["losses"], state["kept"])
        trainer._feed = source
    restored(trainer._callbacks, state["callbacks"])
