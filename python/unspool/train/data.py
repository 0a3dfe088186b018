"""Where batches come from: rows of tensors, gathered natively, or a loader's batches, one by one.

Both have the same methods: `start` an epoch, `run` a frozen step on batches, and what came of them. Start at `feed`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from math import isfinite
from typing import Any

import numpy as np

from unspool import _core
from unspool._tree import flatten
from unspool.train.steps import differ, named, of_rows
from unspool.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset
from unspool.utils.data.sampler import draw_seed

__all__ = ["NotFinite", "Rows", "Stream", "feed", "inputs_of"]


class NotFinite(Exception):
    """A batch that must not be trained on; the text says which and why."""


def _tensor(op: str, name: str, value: Any, dtype: Any) -> Any:
    """A tensor of an array: of floating-point ones in the model's dtype, of whole numbers in int64."""
    if _core.is_tensor(value):
        tensor = value
    else:
        try:
            array = np.asarray(value)
        except ValueError as error:
            raise ValueError(f"{op}: {name} is no array: {error}") from None
        if array.dtype.kind == "f":
            own = np.float32 if dtype is _core.bfloat16 else str(dtype).rpartition(".")[2]  # NumPy has no bfloat16
            tensor = _core.as_tensor(np.array(array, dtype=own)).to(dtype)
        elif array.dtype.kind in "iu":
            tensor = _core.as_tensor(np.array(array, dtype=np.int64))
        elif array.dtype.kind == "b":
            tensor = _core.as_tensor(np.array(array))
        else:
            raise TypeError(f"{op}: {name} must hold numbers, got an array of dtype {array.dtype}")
    if tensor.dim() == 0:
        raise ValueError(f"{op}: {name} must have a row for each example, got a single number")
    return tensor.detach()


def _bad_row(tensor: Any) -> tuple[int, ...] | None:
    """Where the first element that is not finite lies, if any."""
    # Their sum tells, but for one that overflows, in a third of the time.
    if not tensor.is_floating_point() or isfinite(tensor.detach().sum().item()) or tensor.isfinite().all().item():
        return None
    return tuple(int(k) for k in np.argwhere(~tensor.isfinite().numpy())[0])


def _where(place: tuple[int, ...]) -> str:
    return f"row {place[0]}" + (f", column {', '.join(map(str, place[1:]))}" if len(place) > 1 else "")


def check_finite(op: str, names: list[str], tensors: Any) -> None:
    """Raise ValueError that names the row and column of the first number that is not finite."""
    for name, tensor in zip(names, tensors, strict=True):
        place = _bad_row(tensor)
        if place is not None:
            raise ValueError(f"{op}: {name} has {tensor[place].item()} in {_where(place)}; it must be finite")


def _makes_batches(x: Any) -> bool:
    return (
        hasattr(x, "__iter__")
        and not _core.is_tensor(x)
        and not isinstance(x, (np.ndarray, tuple, list, str, bytes, dict))
        and not hasattr(x, "__array__")
    )


class Rows:
    """Batches of rows of tensors: gathering, steps and losses of an epoch are one native loop.

    A step takes `parts` batches, the epoch's last what is left.
    """

    def __init__(self, loader: Any, tensors: tuple[Any, ...], picks: Any, draws: bool, parts: int) -> None:
        self._loader, self._picks, self._draws = loader, picks, draws
        self._tensors, self._targets = tensors, tensors[-1]
        self.size = loader.batch_sampler.batch_size
        self.parts = parts
        n = len(loader.dataset)
        self._short = 0 if loader.batch_sampler.drop_last else n % self.size
        self._n = n - n % self.size + self._short
        self._cut = self._n < n
        self.steps: int | None = -(-self._n // (self.size * parts))
        self._whole = self._n // self.size // parts if self._short else self.steps  # steps without the short batch
        self._counts = [self.size] * (self._n // self.size) + [self._short] * (self._short > 0)
        self._batches = _core.Batches(tensors, self.size, parts)
        self.order: Any = None

    def taking(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """The step, as `run` calls it."""
        function = of_rows(step, self.size) if self.parts > 1 else lambda *tensors: step(tensors)
        return named(function, step)

    def first(self) -> tuple[Any, ...]:
        """The first batch of the rows as they lie."""
        return tuple(t[: self.size] for t in self._tensors)

    @property
    def sizes(self) -> list[int]:
        """What must be as it was where an epoch is resumed in the middle."""
        return [self._n, self.size, self.parts]

    @property
    def kind(self) -> tuple[Any, ...]:
        """A frozen step that `taking` gave serves all feeds of this kind."""
        return (Rows, self.parts, self.size if self.parts > 1 else 0)

    def start(self) -> None:
        """Draw an epoch's order, as the loader would."""
        if self._draws:
            draw_seed(self._loader.generator)
        order = self._loader._order(self._picks)
        if self._cut:
            order = _core.arange(self._n) if order is None else order[: self._n]
        self.order = order
        self._batches.reorder(order)

    def resume(self, order: Any, losses: list[float], kept: list[Any]) -> None:
        """An epoch that was begun before: its order and what its first batches gave."""
        self.order = order
        self._batches.reorder(order)
        rows = self.size * self.parts
        for i, first in enumerate(range(0, len(losses), self.parts)):
            part = _core.tensor(losses[first : first + self.parts], dtype=_core.float64)
            self._batches.note(i, [part, *(t[i * rows : (i + 1) * rows] for t in kept)])

    def run(self, compiled: Any, step: int, stop: int | None, seconds: float) -> int:
        """Take steps from `step` to `stop` (the last of the epoch where None), for so long; how many there were."""
        whole, short = self._whole, self._short
        if short and step == whole:
            self._loader._draw_empty_pass()
            whole += 1
        if stop is None or stop > whole:
            stop = whole
        done: int = compiled._plans.replay(self._batches, step, stop, seconds)
        if done == 0:
            self._batches.note(step, flatten(compiled(*self._batches.batch(step))))
            done = 1
        if not short and step + done == whole:
            self._loader._draw_empty_pass()
        return done

    def losses(self, steps: int, first: int = 0) -> list[float]:
        """Of the batches of the epoch's first steps, from the batch `first` on."""
        found: list[float] = self._batches.losses[first : steps * self.parts].tolist()
        return found

    def finite(self, step: int) -> bool:
        """Whether the losses of a step are."""
        return self._batches.finite(step)

    @property
    def odd(self) -> str:
        """How what the last step gave beside losses differs from what the steps before gave; else empty."""
        return self._batches.odd

    def rows(self, steps: int) -> list[int]:
        """How many rows each batch of the first steps has."""
        return self._counts[: steps * self.parts]

    def kept(self) -> list[Any]:
        """What the steps gave beside losses, of all rows."""
        return self._batches.kept

    def scored(self) -> tuple[Any, Any]:
        """The epoch's predictions and targets, row by row."""
        prediction = self._batches.kept[0]
        return prediction, self._targets if self.order is None else _core.gather_rows((self._targets,), self.order)[0]


class Stream:
    """Batches of a loader that runs in Python: each step is one call."""

    kind = ("stream",)
    sizes: list[int] | None = None

    def __init__(self, op: str, loader: Any, dtype: Any, finite: bool, parts: int) -> None:
        self._op, self._loader, self._dtype, self._finite = op, loader, dtype, finite
        self.parts = parts
        try:
            self.steps: int | None = -(-len(loader) // parts)
        except TypeError:
            self.steps = None
        self._iterator: Iterator[Any] = iter(())
        self.order = None

    def taking(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """The step, as `run` calls it."""
        return step

    def start(self) -> None:
        """Start the loader's epoch."""
        self._iterator = iter(self._loader)
        self._losses: list[float] = []
        self._counts: list[int] = []
        self._predictions: list[Any] = []
        self._targets: list[Any] = []
        self.odd = ""

    def resume(self, order: Any, losses: list[float], kept: list[Any]) -> None:
        """Not in the middle of an epoch."""
        raise ValueError(
            f"{self._op}: the checkpoint is from the middle of an epoch, and x is a loader whose order is its own; "
            "it can be resumed with the arrays, or from a checkpoint of an epoch's end"
        )

    def _batch(self, batch: Any) -> tuple[Any, ...]:
        if not isinstance(batch, (tuple, list)) or len(batch) < 2:
            raise TypeError(f"{self._op}: batches must be (inputs…, target), got {type(batch).__name__}")
        for i, part in enumerate(batch):
            if isinstance(part, dict) or (isinstance(part, (tuple, list)) and any(map(_core.is_tensor, part))):
                raise TypeError(f"{self._op}: part {i} of a batch must be a tensor or an array, got {part!r:.60}")
        tensors = tuple(
            part if _core.is_tensor(part) else _tensor(self._op, f"part {i} of a batch", part, self._dtype)
            for i, part in enumerate(batch)
        )
        if self._finite:
            for i, tensor in enumerate(tensors):
                place = _bad_row(tensor)
                if place is not None:
                    raise NotFinite(f"tensor {i} of the batch has {tensor[place].item()} in {_where(place)}")
        return tensors

    def run(self, compiled: Any, step: int, stop: int | None, seconds: float) -> int:
        """Take the next step; 0 where there is no batch."""
        batches = [self._batch(batch) for batch in islice(self._iterator, self.parts)]
        if not batches:
            return 0
        losses, *predictions = flatten(compiled(*batches))
        self._losses += losses.reshape(-1).tolist()
        self._counts += [len(batch[-1]) if batch[-1].dim() else 1 for batch in batches]
        if predictions:
            self._predictions += predictions
            self._targets += [batch[-1] for batch in batches]
            self.odd = differ(self._predictions[:1] + predictions)
        return 1

    def losses(self, steps: int, first: int = 0) -> list[float]:
        """Of the batches of the epoch's first steps, from the batch `first` on."""
        return self._losses[first : steps * self.parts]

    def finite(self, step: int) -> bool:
        """Whether the losses of a step are."""
        return all(map(isfinite, self._losses[step * self.parts :]))

    def rows(self, steps: int) -> list[int]:
        """How many rows each batch of the first steps had."""
        return self._counts[: steps * self.parts]

    def kept(self) -> list[Any]:
        """What the steps gave beside losses, of all rows."""
        return [_core.cat(self._predictions)] if self._predictions else []

    def scored(self) -> tuple[Any, Any]:
        """The epoch's predictions and targets, row by row."""
        return _core.cat(self._predictions), _core.cat(self._targets)


def feed(
    op: str,
    x: Any,
    y: Any,
    *,
    batch_size: int,
    shuffle: bool = False,
    generator: Any = None,
    dtype: Any,
    finite: bool,
    parts: int = 1,
    draws: bool = True,
) -> Rows | Stream:
    """Batches (inputs…, target) of what users give; native where they are rows of tensors.

    parts: batches of a step.
    draws: whether arrays draw from the random stream as a DataLoader does, also where they are not shuffled.

    Raises:
        ValueError: different numbers of rows, no rows, numbers that are not finite.
        TypeError: something that has no numbers, or a target beside a Dataset or a loader.
    """
    names: list[str] = []
    if isinstance(x, (DataLoader, Dataset)) or (y is None and _makes_batches(x)):
        if y is not None:
            raise TypeError(f"{op}: y must be left out where x is a {type(x).__name__}, which has the targets")
        loader, draws = x, True
        if isinstance(x, Dataset):
            order = None if isinstance(x, IterableDataset) else shuffle or None
            loader = DataLoader(x, batch_size=batch_size, shuffle=order, generator=generator)
    else:
        names, tensors = _arrays(op, x, y, dtype)
        loader = DataLoader(TensorDataset(*tensors), batch_size=batch_size, shuffle=shuffle, generator=generator)
    rows = loader._rows() if isinstance(loader, DataLoader) else None
    if rows is None:
        return Stream(op, loader, dtype, finite, parts)
    names = names or [f"tensor {i} of x" for i in range(len(rows[0]))]
    if len(names) < 2:
        raise TypeError(f"{op}: batches must be (inputs…, target), got one tensor")
    if finite:
        check_finite(op, names, rows[0])
    return Rows(loader, *rows, draws, parts)


def _arrays(op: str, x: Any, y: Any, dtype: Any) -> tuple[list[str], list[Any]]:
    """Tensors of inputs and target, with names for messages."""
    if y is None:
        raise TypeError(f"{op}: y is missing; x is {type(x).__name__}, no Dataset or DataLoader that has the targets")
    names, parts = (*_names(x), "y"), (*(x if isinstance(x, tuple) else (x,)), y)
    return list(names), _equally_long(op, names, parts, dtype)


def inputs_of(op: str, x: Any, dtype: Any) -> list[Any]:
    """Tensors of inputs, without a target."""
    return _equally_long(op, _names(x), x if isinstance(x, tuple) else (x,), dtype)


def _names(x: Any) -> tuple[str, ...]:
    return tuple(f"x[{i}]" for i in range(len(x))) if isinstance(x, tuple) else ("x",)


def _equally_long(op: str, names: tuple[str, ...], parts: tuple[Any, ...], dtype: Any) -> list[Any]:
    tensors = [_tensor(op, name, part, dtype) for name, part in zip(names, parts, strict=True)]
    for name, tensor in zip(names, tensors, strict=True):
        if len(tensor) != len(tensors[0]):
            raise ValueError(f"{op}: {names[0]} has {len(tensors[0])} rows and {name} has {len(tensor)}")
    if len(tensors[0]) == 0:
        raise ValueError(f"{op}: {names[0]} has no rows, got shape {tuple(tensors[0].shape)}")
    return tensors
