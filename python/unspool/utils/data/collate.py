"""Making one batch of several samples: tensors are stacked, numbers become tensors, containers keep their shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from unspool import _core

__all__ = ["default_collate", "default_convert"]


def _is_text(a: Any) -> bool:
    return a.dtype.kind in "SUO"


def default_collate(batch: Sequence[Any]) -> Any:
    """A batch with a new first dimension from samples of equal structure.

    Python floats become float64, ints int64; NumPy values keep their dtype; strings stay a list.

    Raises:
        TypeError: a sample holds something that can't be put into a batch.
        RuntimeError: samples differ in length or shape.
    """
    first = batch[0]
    if isinstance(first, _core.Tensor):
        return _core.stack(list(batch))
    if isinstance(first, (np.ndarray, np.generic)) and not _is_text(first):
        shapes = {np.shape(a) for a in batch}
        if len(shapes) > 1:
            raise _core.ShapeError(f"default_collate: arrays of a batch need one shape, got {sorted(shapes)}")
        return _core.from_numpy(np.stack(list(batch)))
    if isinstance(first, float):
        return _core.tensor(list(batch), dtype=_core.float64)
    if isinstance(first, int):
        return _core.tensor(list(batch))
    if isinstance(first, (str, bytes)):
        return batch
    if isinstance(first, Mapping):
        columns = {key: default_collate([sample[key] for sample in batch]) for key in first}
        return _like(first, columns)
    if isinstance(first, (tuple, list)):
        if any(len(sample) != len(first) for sample in batch):
            raise RuntimeError(f"default_collate: samples differ in length: {[len(sample) for sample in batch]}")
        made = [default_collate(column) for column in zip(*batch, strict=True)]
        if hasattr(first, "_fields"):
            make: Any = type(first)
            return make(*made)
        return made if isinstance(first, tuple) else _like(first, made)
    raise TypeError(
        "default_collate: samples must hold tensors, NumPy arrays, numbers, strings, dicts, tuples or lists, "
        f"found {type(first).__name__}; pass a collate_fn of your own for others"
    )


def default_convert(data: Any) -> Any:
    """A single sample with NumPy values as tensors; the rest as it is."""
    if isinstance(data, (np.ndarray, np.generic)) and not _is_text(data):
        return _core.as_tensor(data)
    if isinstance(data, Mapping):
        return _like(data, {key: default_convert(value) for key, value in data.items()})
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        make: Any = type(data)
        return make(*(default_convert(value) for value in data))
    if isinstance(data, (tuple, list)):
        return [default_convert(value) for value in data]
    return data


def _like(model: Any, made: Any) -> Any:
    """`made` in the model's own container type, where that can be built from one argument."""
    try:
        return type(model)(made)
    except TypeError:
        return made
