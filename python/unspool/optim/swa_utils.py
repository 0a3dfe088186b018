"""Averages of a model's weights over training, equal (SWA) and exponential (EMA) ones, and the rate that goes with SWA.

`AveragedModel` keeps the average, `update_bn` measures the statistics of its normalisation layers, `SWALR` goes over
to a constant rate.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any

from unspool import _core
from unspool.autograd.grad_mode import no_grad
from unspool.nn import Module
from unspool.nn.modules.batchnorm import _BatchNorm
from unspool.optim.lr_scheduler import LRScheduler
from unspool.optim.lr_scheduler.cycles import _per_group

__all__ = [
    "SWALR", "AveragedModel", "get_ema_avg_fn", "get_ema_multi_avg_fn", "get_swa_avg_fn", "get_swa_multi_avg_fn",
    "update_bn",
]  # fmt: skip


def _check_decay(decay: float) -> None:
    if not 0.0 <= decay <= 1.0:
        raise ValueError(f"Invalid decay value {decay} provided. Please provide a value in [0,1] range.")


def get_ema_multi_avg_fn(decay: float = 0.999) -> Callable[..., None]:
    """A function `(averages, parameters, count)` that moves the first a share 1 - decay towards the second.

    Raises:
        ValueError: decay is not between 0 and 1.
    """
    _check_decay(decay)

    def update(averages: Iterable[Any], parameters: Iterable[Any], count: Any) -> None:
        with no_grad():
            for average, p in zip(averages, parameters, strict=True):
                if average.is_floating_point():
                    average.lerp_(p, 1 - decay)
                else:
                    average.copy_(average * decay + p * (1 - decay))

    return update


def get_swa_multi_avg_fn() -> Callable[..., None]:
    """A function `(averages, parameters, count)` that makes means of `count` tensors means of one more."""

    def update(averages: Iterable[Any], parameters: Iterable[Any], count: Any) -> None:
        with no_grad():
            for average, p in zip(averages, parameters, strict=True):
                if average.is_floating_point():
                    average.lerp_(p, float(1 / (count + 1)))
                else:
                    average.copy_(average + (p - average) / (count + 1))

    return update


def get_ema_avg_fn(decay: float = 0.999) -> Callable[[Any, Any, Any], Any]:
    """A function `(average, parameter, count)` that returns decay · average + (1 - decay) · parameter.

    Raises:
        ValueError: decay is not between 0 and 1.
    """
    _check_decay(decay)

    def update(average: Any, p: Any, count: Any) -> Any:
        with no_grad():
            return decay * average + (1 - decay) * p

    return update


def get_swa_avg_fn() -> Callable[[Any, Any, Any], Any]:
    """A function `(average, parameter, count)` that returns the mean of one more."""

    def update(average: Any, p: Any, count: Any) -> Any:
        with no_grad():
            return average + (p - average) / (count + 1)

    return update


class AveragedModel(Module):
    """A copy of `model` whose parameters are an average of those it has had at each `update_parameters`.

    Args:
        avg_fn: `(average, parameter, count)` gives the new average; equal weights unless it is given.
        multi_avg_fn: the same in place, of lists of all tensors.
        use_buffers: average the buffers, too; else they are copied at each update.

    Raises:
        AssertionError: both functions are given.
    """

    n_averaged: Any

    def __init__(
        self,
        model: Any,
        device: Any = None,
        avg_fn: Callable[[Any, Any, Any], Any] | None = None,
        multi_avg_fn: Callable[..., None] | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer("n_averaged", _core.tensor(0, dtype=_core.int64, device=device))
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The averaged model's result."""
        return self.module(*args, **kwargs)

    def update_parameters(self, model: Any) -> None:
        """Take the parameters that `model` has now into the average; the first time they are the average."""
        with no_grad():
            self._update(model)

    def _update(self, model: Any) -> None:
        averages = [p.detach() for p in self._averaged(self.module)]
        current = [p.detach() for p in self._averaged(model)]
        if self.n_averaged == 0:
            for average, p in zip(averages, current, strict=True):
                average.copy_(p)
        elif self.avg_fn is not None:
            for average, p in zip(averages, current, strict=True):
                average.copy_(self.avg_fn(average, p, self.n_averaged))
        else:
            update = self.multi_avg_fn or get_swa_multi_avg_fn()
            # averaging functions look at the first tensor's dtype
            for dtype in dict.fromkeys(average.dtype for average in averages):
                chosen = [i for i, average in enumerate(averages) if average.dtype == dtype]
                update([averages[i] for i in chosen], [current[i] for i in chosen], self.n_averaged)
        if not self.use_buffers:
            for mine, theirs in zip(self.module.buffers(), model.buffers(), strict=True):
                mine.detach().copy_(theirs.detach())
        self.n_averaged += 1

    def _averaged(self, model: Any) -> Iterable[Any]:
        return itertools.chain(model.parameters(), model.buffers()) if self.use_buffers else model.parameters()


def update_bn(loader: Iterable[Any], model: Any, device: Any = None) -> None:
    """Measure the running statistics of the batch normalisations in `model` anew, in one pass over `loader`.

    A batch is a tensor, or a list or tuple whose first entry is the model's input.
    """
    momenta = {m: m.momentum for m in model.modules() if isinstance(m, _BatchNorm)}
    if not momenta:
        return
    was_training = model.training
    model.train()
    with no_grad():
        for m in momenta:
            m.reset_running_stats()
            m.momentum = None  # a mean over all batches
        for batch in loader:
            x = batch[0] if isinstance(batch, (list, tuple)) else batch
            model(x if device is None else x.to(device))
    for m, momentum in momenta.items():
        m.momentum = momentum
    model.train(was_training)


class SWALR(LRScheduler):
    """Go from the present rate to `swa_lr` in `anneal_epochs` epochs, along a cosine ("cos") or a line ("linear").

    Raises:
        ValueError: another strategy, or a number of epochs that is no int or negative.
    """

    def __init__(
        self,
        optimizer: Any,
        swa_lr: Any,
        anneal_epochs: Any = 10,
        anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ) -> None:
        for group, lr in zip(optimizer.param_groups, _per_group("SWALR", "swa_lr", optimizer, swa_lr), strict=True):
            group["swa_lr"] = lr
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}")
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        self._anneal_strategy = anneal_strategy
        self.anneal_epochs = anneal_epochs
        super().__init__(optimizer, last_epoch)

    def _share(self, step: int) -> float:
        """How far the way has been gone after `step` steps."""
        t = max(0.0, min(1.0, step / max(1, self.anneal_epochs)))
        return (1 - math.cos(math.pi * t)) / 2 if self._anneal_strategy == "cos" else t

    def get_lr(self) -> list[Any]:
        self._warn_outside_step()
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        before, now = self._share(step - 1), self._share(step)
        rates = []
        for group in self.optimizer.param_groups:
            end = group["swa_lr"]
            start = end if before == 1 else (group["lr"] - before * end) / (1 - before)
            rates.append(end * now + start * (1 - now))
        return rates
