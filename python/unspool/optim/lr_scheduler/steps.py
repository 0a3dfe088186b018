"""Rates that change by a factor: at given epochs, every epoch, or by a function of the epoch."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable
from types import FunctionType
from typing import Any

from unspool.optim.lr_scheduler._base import LRScheduler

__all__ = ["ExponentialLR", "LambdaLR", "MultiStepLR", "MultiplicativeLR", "StepLR"]


class StepLR(LRScheduler):
    """Multiply the rates by `gamma` every `step_size` epochs."""

    def __init__(self, optimizer: Any, step_size: float, gamma: float = 0.1, last_epoch: int = -1) -> None:
        if not isinstance(step_size, (int, float)):
            raise TypeError(f"StepLR: step_size must be a number, got {step_size!r} ({type(step_size).__name__})")
        if not step_size > 0:
            raise ValueError(f"StepLR: step_size is {step_size}; it must be a positive number of epochs")
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        self._warn_outside_step()
        factor = self.gamma if self.last_epoch != 0 and self.last_epoch % self.step_size == 0 else None
        return [g["lr"] if factor is None else g["lr"] * factor for g in self.optimizer.param_groups]

    def _get_closed_form_lr(self) -> list[Any]:
        return [lr * self.gamma ** (self.last_epoch // self.step_size) for lr in self.base_lrs]


class MultiStepLR(LRScheduler):
    """Multiply the rates by `gamma` at each epoch in `milestones` (twice where it stands twice)."""

    def __init__(self, optimizer: Any, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1) -> None:
        self.milestones = Counter(milestones)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        self._warn_outside_step()
        times = self.milestones.get(self.last_epoch, 0)
        return [g["lr"] * self.gamma**times if times else g["lr"] for g in self.optimizer.param_groups]

    def _get_closed_form_lr(self) -> list[Any]:
        passed = bisect_right(sorted(self.milestones.elements()), self.last_epoch)
        return [lr * self.gamma**passed for lr in self.base_lrs]


class ExponentialLR(LRScheduler):
    """Multiply the rates by `gamma` every epoch."""

    def __init__(self, optimizer: Any, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        self._warn_outside_step()
        first = self._is_initial or self.last_epoch == 0
        return [g["lr"] if first else g["lr"] * self.gamma for g in self.optimizer.param_groups]

    def _get_closed_form_lr(self) -> list[Any]:
        return [lr * self.gamma**self.last_epoch for lr in self.base_lrs]


class LambdaLR(LRScheduler):
    """Set each rate to its initial one times `lr_lambda(epoch)`; one function, or one a group.

    Raises:
        ValueError: the number of functions is not the number of groups.
    """

    def __init__(self, optimizer: Any, lr_lambda: Any, last_epoch: int = -1) -> None:
        groups = len(getattr(optimizer, "param_groups", ()))
        lambdas: list[Callable[[int], float]]
        lambdas = list(lr_lambda) if isinstance(lr_lambda, (list, tuple)) else [lr_lambda] * groups
        if len(lambdas) != groups:
            raise ValueError(f"LambdaLR: {groups} parameter groups need as many functions, got {len(lambdas)}")
        self.lr_lambdas = lambdas
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        self._warn_outside_step()
        return [base * f(self.last_epoch) for f, base in zip(self.lr_lambdas, self.base_lrs, strict=True)]

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer and plain functions; callable objects give their attributes."""
        state = {k: v for k, v in self.__dict__.items() if k not in ("optimizer", "lr_lambdas")}
        kept = [None if isinstance(f, FunctionType) else dict(getattr(f, "__dict__", {})) for f in self.lr_lambdas]
        state["lr_lambdas"] = kept
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` gave; plain functions stay as they are."""
        self.__dict__.update({k: v for k, v in state_dict.items() if k != "lr_lambdas"})
        for f, kept in zip(self.lr_lambdas, state_dict.get("lr_lambdas", ()), strict=False):
            if kept is not None:
                f.__dict__.update(kept)


class MultiplicativeLR(LambdaLR):
    """Multiply each rate by `lr_lambda(epoch)` every epoch but the first; one function, or one a group."""

    def get_lr(self) -> list[Any]:
        self._warn_outside_step()
        rates = [g["lr"] for g in self.optimizer.param_groups]
        if self._is_initial:
            return rates
        return [lr * f(self.last_epoch) for f, lr in zip(self.lr_lambdas, rates, strict=True)]
