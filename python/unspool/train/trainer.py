"""`Trainer`: epochs of frozen steps. Start at `Trainer.fit`; data.py has the batches, steps.py what is frozen."""

from __future__ import annotations

import contextlib
import copy
import math
import threading
from collections.abc import Iterable, Iterator, Mapping
from numbers import Real
from operator import mul
from typing import Any

from unspool import _core
from unspool._compile import Compiled
from unspool.autograd.grad_mode import no_grad
from unspool.nn import Module
from unspool.optim import LBFGS, Optimizer
from unspool.optim.lr_scheduler import ReduceLROnPlateau
from unspool.train import steps, whole
from unspool.train.callbacks import Watch, listed
from unspool.train.data import NotFinite, Rows, Stream, feed, inputs_of
from unspool.train.history import History
from unspool.train.metrics import Metric, by_name, score
from unspool.train.progress import Bar
from unspool.train.rates import RateTest, run_rate_test
from unspool.train.whole import Interrupts, Undo

__all__ = ["Trainer"]

_CHUNK = 0.05  # seconds of native steps between looks at Ctrl-C and the progress bar


def _count(op: str, name: str, value: Any, least: int) -> None:
    if type(value) is not int or value < least:
        raise ValueError(f"{op}: {name} must be an int of at least {least}, got {value!r}")


def _is_positive(value: Any) -> bool:
    return isinstance(value, Real) and value > 0  # type: ignore[operator]


def _mean(losses: list[float], rows: list[int]) -> float:
    return math.fsum(map(mul, losses, rows)) / sum(rows) if rows else math.nan


class Trainer:
    """Trains a model: what one writes around every model, with the bits of one's own loop.

    Each step is forward, loss, backward, clipping, the optimizer's step; it is frozen (`unspool.compile`), and epochs
    of array data run natively. The result is that of

        for epoch in range(epochs):
            for x_batch, y_batch in DataLoader(TensorDataset(x, y), batch_size, shuffle, generator=generator):
                optimizer.zero_grad()
                loss(model(x_batch), y_batch).backward()
                optimizer.step()
            scheduler.step()

    to the bit: weights, optimizer state, losses, random state. Gradients are None afterwards. A model that cannot be
    frozen is trained eagerly, after a warning. Modes (`train`, `eval`) of modules stay as they are, but for validation.

    Args:
        model: called with a batch of inputs.
        loss: called with the model's output and the batch of targets; gives one number.
        optimizer: of the model's parameters.
        scheduler: its step is called after each epoch, of ReduceLROnPlateau with the validation loss (the training
            loss where there is no validation).
        metrics: names ("accuracy", "mae", "r2"), functions (prediction, target) -> number; one, several, or a dict of
            them. Each is called once an epoch, with all predictions; during training these are from before each
            step's update.
        clip_norm: the gradients' common 2-norm is scaled to at most this.
        clip_value: gradients are clamped to ± this.
        accumulate: gradients of so many batches are averaged for one step of the optimizer.
        schedule: "epoch", or "step" to call the scheduler after each step of the optimizer.
        nonfinite: "raise", or "continue" to train on with NaN and infinite numbers.

    Raises:
        ValueError, TypeError: an argument that means nothing.
    """

    def __init__(
        self,
        model: Any,
        loss: Any,
        optimizer: Any,
        scheduler: Any = None,
        *,
        metrics: str | Metric | Iterable[str | Metric] | Mapping[str, Metric] = (),
        clip_norm: float | None = None,
        clip_value: float | None = None,
        accumulate: int = 1,
        schedule: str = "epoch",
        nonfinite: str = "raise",
    ) -> None:
        if not isinstance(model, Module):
            raise TypeError(f"Trainer: model must be a Module, got {model!r:.60}")
        if not callable(loss):
            raise TypeError(f"Trainer: loss must be callable, got {loss!r:.60}")
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"Trainer: optimizer must be an Optimizer, got {optimizer!r:.60}")
        if isinstance(optimizer, LBFGS):
            raise TypeError("Trainer: LBFGS evaluates the loss several times a step; call its step(closure) in a loop")
        owned = {id(p) for part in (model, loss) if isinstance(part, Module) for p in part.parameters()}
        if not any(id(p) in owned for group in optimizer.param_groups for p in group["params"]):
            raise ValueError("Trainer: none of the optimizer's parameters is the model's; make one of this model's")
        if scheduler is not None and (isinstance(scheduler, type) or not callable(getattr(scheduler, "step", None))):
            raise TypeError(f"Trainer: scheduler must have step(), got {scheduler!r:.60}")
        for name, number in (("clip_norm", clip_norm), ("clip_value", clip_value)):
            if number is not None and not _is_positive(number):
                raise ValueError(f"Trainer: {name} must be above 0, got {number!r}")
        _count("Trainer", "accumulate", accumulate, 1)
        if schedule not in ("epoch", "step"):
            raise ValueError(f'Trainer: schedule must be "epoch" or "step", got {schedule!r}')
        if nonfinite not in ("raise", "continue"):
            raise ValueError(f'Trainer: nonfinite must be "raise" or "continue", got {nonfinite!r}')
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.scheduler: Any = scheduler
        self.metrics = by_name(metrics)
        self.history = History()
        self.epoch = self.step = self.epochs = 0
        self.stop = self.failed = False
        self._clipping = clip_norm, clip_value
        model = getattr(model, "_orig_mod", model)  # what unspool.compile made would be frozen twice
        self._accumulate = accumulate
        self._by_step = schedule == "step"
        self._finite = nonfinite == "raise"
        self._lock = threading.Lock()
        self._thread: int | None = None  # that trains
        self._feed: Rows | Stream | None = None  # of the epoch that is begun
        self._lr = 0.0  # at the start of the epoch
        self._generator: Any = None
        self._callbacks: list[Any] = []
        self._watches: list[Watch] = []
        keep = bool(self.metrics)
        self._fit, self._fit_and_keep = (
            steps.training(model, loss, optimizer, accumulate, clip_norm, clip_value, keep, drops)
            for drops in (True, False)
        )
        self._look = steps.evaluation(model, loss, keep)
        self._predict = Compiled(steps.prediction(model), "eager")
        self._frozen: dict[Any, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        return whole.parts_of(self)

    def __setstate__(self, parts: dict[str, Any]) -> None:
        Trainer.__init__(self, *parts["made_of"], **parts["arguments"])
        self.__dict__.update(parts["progress"])

    # ---- What is given ------------------------------------------------------------------------------------

    def _dtype(self) -> Any:
        """Of the model's first parameter."""
        for group in self.optimizer.param_groups:
            for p in group["params"]:
                return p.dtype
        return _core.get_default_dtype()

    def _feed_of(self, op: str, data: Any, batch_size: int, **more: Any) -> Rows | Stream:
        x, y = data if isinstance(data, tuple) and len(data) == 2 else (data, None)
        return feed(op, x, y, batch_size=batch_size, dtype=self._dtype(), finite=self._finite, **more)

    def _frozen_for(self, source: Rows | Stream, step: Any) -> Any:
        wanted = tuple(p.requires_grad for group in self.optimizer.param_groups for p in group["params"])
        key = step, source.kind, wanted  # which gradients there are is no guard of a plan
        if key not in self._frozen:
            self._frozen[key] = Compiled(source.taking(step), "eager")
        return self._frozen[key]

    @property
    def losses(self) -> list[float]:
        """The batch losses of this epoch so far."""
        return self.losses_from(0)

    def losses_from(self, batch: int) -> list[float]:
        """The same, from a batch on."""
        return [] if self._feed is None else self._feed.losses(self.step, batch)

    @contextlib.contextmanager
    def _alone(self, op: str, within: bool = False) -> Iterator[None]:
        """One at a time; `within`: callbacks may, too."""
        if within and self._thread == threading.get_ident():
            yield
            return
        if not self._lock.acquire(blocking=False):
            raise RuntimeError(f"{op}: this trainer is training already")
        self._thread = threading.get_ident()
        try:
            yield
        finally:
            self._thread = None
            self._lock.release()

    # ---- Training -----------------------------------------------------------------------------------------

    def fit(
        self,
        x: Any,
        y: Any = None,
        *,
        epochs: int = 1,
        batch_size: int = 32,
        shuffle: bool = True,
        validation: Any = None,
        callbacks: Iterable[Any] = (),
        progress: bool | None = None,
        generator: Any = None,
        resume: Any = None,
    ) -> History:
        """Train for so many epochs; the numbers of each are in the History that is returned, also `self.history`.

        Args:
            x: the inputs, rows along the first dimension: an array, a tensor, or a tuple of them where the model takes
                several. Arrays of floats become tensors of the model's dtype. Or a Dataset, DataLoader or other
                iterable of batches (inputs…, target); then y is left out.
            y: the targets, a row for each example.
            batch_size: rows a batch; the last may be short. More than there are: one batch.
            shuffle: a new order each epoch, drawn as DataLoader draws it. Not for loaders, which have their own.
            validation: (x, y), a Dataset or a DataLoader, looked at after each epoch in eval mode.
            callbacks: see Callback.
            progress: a bar; None: in a terminal or notebook.
            generator: the random stream to shuffle with, instead of the global one.
            resume: the path of a checkpoint, or what state_dict gave, from which the training goes on until there are
                `epochs` in all.

        Raises:
            ValueError, TypeError: data or arguments that mean nothing, before any state changes.
            FloatingPointError: a loss or a loader's batch that is not finite, with epoch and step.
        """
        _count("fit", "epochs", epochs, 0)
        _count("fit", "batch_size", batch_size, 1)
        with self._alone("fit"):
            more = {"shuffle": shuffle, "generator": generator, "parts": self._accumulate}
            source = self._feed_of("fit", (x, y), batch_size, **more)
            watched = None
            if validation is not None:
                watched = self._feed_of("fit: validation", validation, batch_size, draws=False)
            self._callbacks = listed(callbacks)
            self._watches = [Watch(c) for c in self._callbacks if getattr(c, "every", None) is not None]
            self._generator = generator
            state = None if resume is None else whole.checkpoint(resume)
            with self._undone_unless_begun(state is not None):
                self.history, self.epoch, self.step, self.epochs = History(), 0, 0, epochs
                self.stop, self._feed = False, None
                if state is not None:
                    whole.resume(self, state, source)
                self.optimizer.zero_grad()
                self._try(watched)
                with Interrupts() as interrupts:
                    self._epochs(source, watched, progress, interrupts)
            return self.history

    def _try(self, watched: Rows | Stream | None) -> None:
        """Look at one batch of the validation data, so that wrong ones are told now, not after an epoch."""
        if isinstance(watched, Rows):
            undo = Undo(self, self._generator, False)
            with self._evaluating():
                self._look(watched.first())
            undo()

    @contextlib.contextmanager
    def _undone_unless_begun(self, resumes: bool) -> Iterator[None]:
        """What fails before the first step is done leaves everything as it was."""
        self._done = 0
        undo = Undo(self, self._generator, resumes)
        before = self.history, self.epoch, self.step, self.epochs, self._feed
        try:
            yield
        except BaseException:
            if self._done == 0:
                self.history, self.epoch, self.step, self.epochs, self._feed = before
                undo()
            raise

    def _call(self, name: str) -> None:
        for callback in self._callbacks:
            method = getattr(callback, name, None)
            if method is not None:
                method(self)

    def _epochs(
        self, source: Rows | Stream, watched: Rows | Stream | None, progress: bool | None, interrupts: Interrupts
    ) -> None:
        per_epoch = source.steps
        bar = Bar(
            progress,
            None if per_epoch is None else per_epoch * self.epochs,
            0 if per_epoch is None else per_epoch * self.epoch + self.step,
        )
        self.failed = True
        try:
            self._call("fit_begin")
            while self.epoch < self.epochs and not self.stop:
                self._epoch(source, watched, bar, interrupts)
            self.failed = False
        finally:
            bar.close()
            with contextlib.ExitStack() as all_of_them:
                for callback in reversed(self._callbacks):
                    if hasattr(callback, "fit_end"):
                        all_of_them.callback(callback.fit_end, self)

    def _epoch(self, source: Rows | Stream, watched: Rows | Stream | None, bar: Bar, interrupts: Interrupts) -> None:
        if self._feed is None:
            source.start()
            self._feed = source
            self._call("epoch_begin")
        if self.step == 0:
            self._lr = float(self.optimizer.param_groups[0]["lr"])
        self._steps(source, bar, interrupts)
        if self.stop and source.steps != self.step:
            return
        losses, rows = source.losses(self.step), source.rows(self.step)
        if not losses:
            raise ValueError(
                f"fit: epoch {self.epoch} has no batch; drop_last leaves out a short one, and a generator gives its "
                "batches once: a DataLoader or an object with __iter__ gives them every epoch"
            )
        mean = _mean(losses, rows)
        numbers = {"loss": mean, "lr": self._lr}
        numbers.update(self._scores(source))
        if watched is not None:
            numbers.update({f"val_{name}": value for name, value in self._measure(watched).items()})
        self.history.add(numbers, losses)
        if not self._by_step:
            self._schedule(numbers)
        bar.epoch(self.epoch, self.epochs, numbers)
        self._call("epoch_end")
        self.epoch += 1
        self.step, self._feed = 0, None

    def _schedule(self, numbers: Mapping[str, float]) -> None:
        if isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step(numbers.get("val_loss", numbers["loss"]))
        elif self.scheduler is not None:
            self.scheduler.step()

    def _steps(self, source: Rows | Stream, bar: Bar, interrupts: Interrupts) -> None:
        """The rest of an epoch's batches."""
        frozen: Any = None
        while not self.stop and (source.steps is None or self.step < source.steps):
            stop = self.step + 1 if self._by_step and self.scheduler is not None else source.steps
            looks = [w for w in self._watches if w.gradients and w.due == self._done + 1]
            for watch in self._watches:
                limit = self.step + watch.limit(self._done)
                stop = limit if stop is None else min(stop, limit)
            for watch in looks:
                watch.callback.step_begin(self)
            interrupts.inside = True
            try:
                if looks:
                    step = self._frozen_for(source, self._fit_and_keep)
                else:
                    step = frozen = frozen or self._frozen_for(source, self._fit)
                done = source.run(step, self.step, stop, _CHUNK)
            except NotFinite as error:
                raise FloatingPointError(f"fit: epoch {self.epoch}, step {self.step}: {error}") from None
            self.step += done
            self._done += done
            interrupts.inside = False
            if done == 0:  # a loader that did not say how long it is
                for watch in self._watches:
                    if watch.called != self._done and not watch.gradients:
                        watch.callback.step_end(self)
                return
            if self._finite and not source.finite(self.step - 1):
                raise FloatingPointError(
                    f"fit: the loss of epoch {self.epoch}, step {self.step - 1} is "
                    f"{source.losses(self.step)[-1]}; the data are finite, so the training has diverged: a lower "
                    'learning rate, clip_norm, or Trainer(nonfinite="continue")'
                )
            if source.odd:
                raise ValueError(
                    f"fit: metrics need predictions of one kind for all of an epoch's rows; epoch {self.epoch}, "
                    f"step {self.step - 1} gave {source.odd}"
                )
            if self._by_step:
                self._schedule({"loss": source.losses(self.step)[-1]})
            bar.step(done)
            for watch in self._watches:
                due = self._done == watch.due
                if due or self.step == source.steps:
                    watch.callback.step_end(self)
                if due:
                    watch.again(self._done)
            if self._watches:  # which may have frozen a layer
                frozen = None
            if looks:
                self.optimizer.zero_grad()
            interrupts.raise_now()

    def _scores(self, source: Rows | Stream) -> dict[str, float]:
        if not self.metrics:
            return {}
        predicted, target = source.scored()
        with no_grad():
            return {name: score(name, metric, predicted, target) for name, metric in self.metrics.items()}

    # ---- Looking ------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _evaluating(self) -> Iterator[None]:
        """Eval mode, and each module's own mode afterwards."""
        training = [module for module in self.model.modules() if module.training]
        if training:
            self.model.eval()
        try:
            with no_grad():
                yield
        finally:
            for module in training:
                module.training = True

    def _measure(self, source: Rows | Stream) -> dict[str, float]:
        with self._evaluating():
            frozen = self._frozen_for(source, self._look)
            source.start()
            step = 0
            while source.steps is None or step < source.steps:
                try:
                    done = source.run(frozen, step, None, _CHUNK)
                except NotFinite as error:
                    raise ValueError(f"evaluate: batch {step}: {error}") from None
                if done == 0:
                    break
                step += done
                if source.odd:
                    raise ValueError(
                        f"evaluate: metrics need predictions of one kind for all rows; step {step - 1} gave "
                        f"{source.odd}"
                    )
            losses, rows = source.losses(step), source.rows(step)
            if not rows:
                raise ValueError("evaluate: there is no batch")
            return {"loss": _mean(losses, rows), **self._scores(source)}

    def evaluate(self, x: Any, y: Any = None, *, batch_size: int = 256) -> dict[str, float]:
        """The loss (mean of the batches', weighted by rows) and the metrics of these data, in eval mode.

        x, y: as fit's. Nothing of the model changes.

        Raises:
            ValueError, TypeError: data that mean nothing.
        """
        _count("evaluate", "batch_size", batch_size, 1)
        with self._alone("evaluate", within=True):
            return self._measure(self._feed_of("evaluate", (x, y), batch_size, draws=False))

    def predict(self, x: Any, *, batch_size: int = 256) -> Any:
        """What the model gives for each row of x (a tensor, an array, a tuple of them), in eval mode.

        Raises:
            ValueError, TypeError: data that mean nothing.
        """
        _count("predict", "batch_size", batch_size, 1)
        inputs = inputs_of("predict", x, self._dtype())
        with self._alone("predict", within=True), self._evaluating():
            found = [
                self._predict(*(t[first : first + batch_size].clone() for t in inputs))
                for first in range(0, len(inputs[0]), batch_size)
            ]
            if not all(map(_core.is_tensor, found)):
                raise TypeError(f"predict: the model must give a tensor, got {type(found[0]).__name__}")
            return _core.cat(found) if len(found) > 1 else found[0]

    def rate_test(
        self,
        x: Any,
        y: Any = None,
        *,
        start: float = 1e-7,
        stop: float = 10.0,
        steps: int = 100,
        batch_size: int = 32,
        generator: Any = None,
    ) -> RateTest:
        """Losses over learning rates that grow from `start` to `stop` by one factor a step (Smith 2017).

        Ends early where the loss is above four times the least. Model, optimizer and random state are as before.

        Raises:
            ValueError, TypeError: data or arguments that mean nothing.
        """
        _count("rate_test", "steps", steps, 2)
        _count("rate_test", "batch_size", batch_size, 1)
        if not 0 < start < stop < math.inf:
            raise ValueError(f"rate_test: start and stop must be 0 < start < stop, got {start!r} and {stop!r}")
        with self._alone("rate_test"):
            source = self._feed_of(
                "rate_test", (x, y), batch_size, shuffle=True, generator=generator, parts=self._accumulate
            )
            undo = Undo(self, generator, True)
            rates = [group["lr"] for group in self.optimizer.param_groups]
            self.optimizer.zero_grad()
            try:
                return run_rate_test(
                    source, self._frozen_for(source, self._fit), self.optimizer, rates, start, stop, steps
                )
            finally:
                undo()

    # ---- State --------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """All that a training needs to go on to the bit: weights, optimizer, scheduler, random state, history, and in
        the middle of an epoch the data's order and what its batches gave. A copy: training on does not change it."""
        return copy.deepcopy(whole.state_of(self))

    def save(self, path: Any) -> None:
        """Write state_dict() to a file, whole or not at all; see unspool.save."""
        from unspool import save

        save(whole.state_of(self), path)
