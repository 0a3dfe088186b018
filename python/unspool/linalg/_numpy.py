"""NumPy's factorisations of tensors, and the checks and errors that they share."""

from __future__ import annotations

from typing import Any

from unspool import _core
from unspool._core import Tensor
from unspool._functions._methods import need_tensor


class LinAlgError(RuntimeError):
    """A matrix that has no inverse, or no factorisation."""


def check_matrix(op: str, x: Any, square: bool = True, halves: bool = False) -> None:
    """RuntimeError unless x is a floating tensor of (square) matrices, of more than 16 bits unless `halves`."""
    need_tensor(op, "A", x)
    if x.dim() < 2:
        raise RuntimeError(
            f"linalg.{op}: The input tensor A must have at least 2 dimensions, got shape {tuple(x.shape)}"
        )
    if square and x.shape[-1] != x.shape[-2]:
        raise RuntimeError(
            f"linalg.{op}: A must be batches of square matrices, but they are {x.shape[-2]} by {x.shape[-1]} matrices"
        )
    if not x.dtype.is_floating_point:
        raise RuntimeError(f"linalg.{op}: Expected a floating point tensor as input, got {x.dtype}")
    if x.dtype.itemsize == 2 and not halves:
        raise RuntimeError(f"linalg.{op}: Low precision dtypes are not supported, got {x.dtype}")


def numpy_linalg(op: str, f: str, *tensors: Tensor, **settings: Any) -> Any:
    """NumPy's function f of tensors. LinAlgError, naming the op, where it fails."""
    import numpy as np

    try:
        return getattr(np.linalg, f)(*(t.detach().numpy() for t in tensors), **settings)
    except np.linalg.LinAlgError as error:
        raise LinAlgError(f"linalg.{op}: {error}; A has shape {tuple(tensors[0].shape)}") from None


def as_tensor(array: Any, dtype: Any) -> Tensor:
    """A copy of an array, 0-d ones included."""
    import numpy as np

    return _core.tensor(np.ascontiguousarray(array).reshape(np.shape(array)), dtype=dtype)


def as_matrices(array: Any, dtype: Any) -> Tensor:
    """A copy of an array of matrices, each stored by columns, as PyTorch's come from LAPACK."""
    import numpy as np

    return as_tensor(np.swapaxes(array, -1, -2), dtype).transpose(-1, -2).detach()
