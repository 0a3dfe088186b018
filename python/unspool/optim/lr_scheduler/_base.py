"""`LRScheduler`, the base class: counts epochs and sets the rates that a subclass computes."""

from __future__ import annotations

import warnings
from functools import wraps
from typing import Any

from unspool import _core
from unspool.optim.optimizer import Optimizer, copied_lr, set_lr

__all__ = ["LRScheduler", "outside_of_plans"]


def outside_of_plans() -> None:
    """A plan reads rates, and makes none: PlanError where a function that steps a schedule is being frozen."""
    _core._refuse_in_capture("lr_scheduler.step", "sets learning rates")


class LRScheduler:
    """Base class: `get_lr` gives the rates of the groups at epoch `last_epoch`, `step` sets them.

    Args:
        optimizer: whose param_groups' 'lr' is set.
        last_epoch: -1 to start, or the epoch that a resumed run had reached.

    Raises:
        TypeError: `optimizer` is no Optimizer.
        KeyError: a resumed run whose groups hold no 'initial_lr'.
    """

    _get_lr_called_within_step = False
    _is_initial = False

    def __init__(self, optimizer: Any, last_epoch: int = -1) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(self).__name__}: expected an Optimizer, got {type(optimizer).__name__}")
        self.optimizer = optimizer
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", copied_lr(group))
            elif "initial_lr" not in group:
                raise KeyError(
                    f"param_groups[{i}] has no 'initial_lr', which is needed to resume at last_epoch={last_epoch}; "
                    "load the optimizer's state_dict first"
                )
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        _note_steps(optimizer)
        optimizer._opt_called = False
        self._first_step()

    def _first_step(self) -> None:
        self._step_count = 0
        self._is_initial = True
        self._advance(None)
        self._is_initial = False

    def get_lr(self) -> list[Any]:
        """The rates for `last_epoch`, computed from the present ones; for `step` to call."""
        raise NotImplementedError(f"{type(self).__name__} doesn't define get_lr")

    def get_last_lr(self) -> list[Any]:
        """The rates that the last step set, one a group."""
        return self._last_lr

    def _warn_outside_step(self) -> None:
        if not self._get_lr_called_within_step:
            warnings.warn("get_lr is for step() alone; use get_last_lr() to read the rate", UserWarning, stacklevel=3)

    def step(self, epoch: int | None = None) -> None:
        """Go to the next epoch (or, deprecated, to `epoch`) and set the rates. Call it after `optimizer.step()`."""
        outside_of_plans()
        if self._step_count == 1 and not self.optimizer._opt_called:
            warnings.warn(
                "lr_scheduler.step() was called before optimizer.step(), so the first rate of the schedule is skipped; "
                "call optimizer.step() first",
                UserWarning,
                stacklevel=2,
            )
        if epoch is not None:
            warnings.warn("scheduler.step(epoch) is deprecated; call step() once an epoch", UserWarning, stacklevel=2)
        self._advance(epoch)

    def _advance(self, epoch: int | None) -> None:
        self._step_count += 1
        self._go_to(epoch)

    def _go_to(self, epoch: int | None) -> None:
        closed_form = getattr(self, "_get_closed_form_lr", None) if epoch is not None else None
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        self._get_lr_called_within_step = True
        try:
            rates = self.get_lr() if closed_form is None else closed_form()
        finally:
            self._get_lr_called_within_step = False
        self._set(rates)

    def _set(self, rates: list[Any]) -> None:
        for group, lr in zip(self.optimizer.param_groups, rates, strict=False):
            set_lr(group, lr)
        self._last_lr = [copied_lr(group) for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer."""
        return {key: value for key, value in self.__dict__.items() if key != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self.__dict__.update(state_dict)


class _LRScheduler(LRScheduler):
    """The base class's older name, for schedules that are derived from it."""


def _note_steps(optimizer: Any) -> None:
    """Make an optimizer whose step() doesn't note that it ran do so."""
    if optimizer._notes_steps or "step" in optimizer.__dict__:
        return
    inner = optimizer.step

    @wraps(inner)
    def step(*args: Any, **kwargs: Any) -> Any:
        optimizer._opt_called = True
        return inner(*args, **kwargs)

    optimizer.step = step
