"""How a Python function becomes a method of Tensor, or its in-place form."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from unspool._core import DTypeError, ShapeError, Tensor, _into, _return_type, bfloat16, empty

_F = TypeVar("_F", bound=Callable[..., Any])


def add(name: str, value: Any) -> None:
    """Give Tensor an attribute."""
    setattr(Tensor, name, value)


def method(f: _F) -> _F:
    """Make `f(input, …)` a method of Tensor as well."""
    add(f.__name__, f)
    return f


def with_inplace(f: _F) -> _F:
    """The same, and `Tensor.f_`, which writes the result into the tensor."""
    method(f)
    name = f.__name__ + "_"

    @wraps(f)
    def write(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        result = f(input, *args, **kwargs)
        if result.shape != input.shape:
            raise ShapeError(
                f"{name}: output with shape {tuple(input.shape)} doesn't match the broadcast "
                f"shape {tuple(result.shape)}"
            )
        if result.dtype.is_floating_point and not input.dtype.is_floating_point:
            raise DTypeError(f"{name}: result type {result.dtype} can't be cast to the desired type {input.dtype}")
        return input.copy_(result)

    write.__name__ = write.__qualname__ = name
    write.__doc__ = f"`{f.__name__}`, written into the tensor."
    add(name, write)
    return f


def as_array(x: Tensor) -> Any:
    """The values for NumPy, which has no bfloat16: as float32 then."""
    return (x.detach().float() if x.dtype == bfloat16 else x.detach()).numpy()


def with_out(f: _F) -> _F:
    """Give a function `out=`, where its results are written, as functions of the core have it."""

    @wraps(f)
    def call(*args: Any, out: Any = None, **kwargs: Any) -> Any:
        return f(*args, **kwargs) if out is None else _into(f.__name__, f, out, args, kwargs)

    return call  # type: ignore[return-value]


# The results of functions that return several, as in PyTorch; made at import, so that a pickle finds them.
_NAMED = {
    "aminmax": ("min", "max"),
    "cummax": ("values", "indices"),
    "cummin": ("values", "indices"),
    "frexp": ("mantissa", "exponent"),
    "histogram": ("hist", "bin_edges"),
    "linalg_cholesky_ex": ("L", "info"),
    "linalg_eigh": ("eigenvalues", "eigenvectors"),
    "linalg_inv_ex": ("inverse", "info"),
    "linalg_lstsq": ("solution", "residuals", "rank", "singular_values"),
    "linalg_lu": ("P", "L", "U"),
    "linalg_lu_factor": ("LU", "pivots"),
    "linalg_lu_factor_ex": ("LU", "pivots", "info"),
    "linalg_qr": ("Q", "R"),
    "linalg_slogdet": ("sign", "logabsdet"),
    "linalg_solve_ex": ("result", "info"),
    "linalg_svd": ("U", "S", "Vh"),
    "lu_unpack": ("P", "L", "U"),
    "mode": ("values", "indices"),
    "nanmedian": ("values", "indices"),
    "qr": ("Q", "R"),
    "slogdet": ("sign", "logabsdet"),
    "triangular_solve": ("solution", "cloned_coefficient"),
    "svd": ("U", "S", "V"),
}
_TYPES = {op: _return_type(op, *fields) for op, fields in _NAMED.items()}


def named(op: str, *results: Any) -> Any:
    """Several results of an op in its named tuple, `return_types.op`."""
    return _TYPES[op](results)


def tensor_arguments(op: str, values: Any) -> list[Tensor]:
    """The tensors of a call `op(a, b)` or `op([a, b])`; TypeError for anything else."""
    if len(values) == 1 and isinstance(values[0], (list, tuple)):
        values = values[0]
    for i, x in enumerate(values):
        if not isinstance(x, Tensor):
            raise TypeError(f"{op}: argument {i} must be a Tensor, got {type(x).__name__}")
    return list(values)


def check_device(device: Any) -> None:
    """RuntimeError for a device that is not the CPU."""
    if device is not None:
        empty(0, device=device)


def need_tensor(op: str, name: str, x: Any) -> None:
    """TypeError unless `x` is a Tensor."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{op}: {name} must be a Tensor, got {type(x).__name__}")


def wrap_dim(op: str, dim: int, ndim: int) -> int:
    """`dim` counted from the front; IndexError where there is no such dim."""
    if not isinstance(dim, int):
        raise TypeError(f"{op}: dim must be an int, got {dim!r}")
    n = max(ndim, 1)
    if not -n <= dim < n:
        raise IndexError(f"{op}: Dimension out of range (expected to be in range of [{-n}, {n - 1}], but got {dim})")
    return dim % n
