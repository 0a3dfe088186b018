"""Along one dim: running extremes, differences, integrals, quantiles; and sums that skip NaN."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from unspool import _core
from unspool._core import DTypeError, Tensor
from unspool._functions._methods import as_array, method, named, need_tensor, with_inplace, with_out, wrap_dim
from unspool._naming import shown_as
from unspool._precision import in_float32

__all__ = [
    "aminmax",
    "corrcoef",
    "cov",
    "cummax",
    "cummin",
    "cumulative_trapezoid",
    "diff",
    "logcumsumexp",
    "nanmean",
    "nanmedian",
    "nanquantile",
    "nansum",
    "quantile",
    "renorm",
    "trapezoid",
    "trapz",
]


def _running(op: str, input: Tensor, dim: int, largest: bool) -> Any:
    import numpy as np

    d = wrap_dim(op, dim, input.dim())
    if input.dim() == 0:
        return named(op, input.clone(), _core.zeros([], dtype=_core.int64))
    x = np.moveaxis(as_array(input), d, -1)
    best = (np.maximum if largest else np.minimum).accumulate(x, axis=-1)  # NaN stays
    # an element is the extreme so far where it equals it: the last such place wins, as in PyTorch
    hit = (x == best) | (x != x)
    places = np.maximum.accumulate(np.where(hit, np.arange(x.shape[-1]), 0), axis=-1)
    indices = _core.tensor(np.ascontiguousarray(np.moveaxis(places, -1, d)), dtype=_core.int64)
    return named(op, _core.gather(input, d, indices), indices)


@with_out
@method
@shown_as("CummaxBackward0")
def cummax(input: Tensor, dim: int) -> Any:
    """(values, indices) of the largest element up to each along dim; of equal ones the last."""
    return _running("cummax", input, dim, True)


@with_out
@method
@shown_as("CumminBackward0")
def cummin(input: Tensor, dim: int) -> Any:
    """(values, indices) of the smallest element up to each along dim; of equal ones the last."""
    return _running("cummin", input, dim, False)


@with_out
@method
def logcumsumexp(input: Tensor, dim: int) -> Tensor:
    """ln of the running sums of e^x along dim, without overflow."""
    if not input.dtype.is_floating_point:
        raise NotImplementedError(f"logcumsumexp: not implemented for {input.dtype}")
    d = wrap_dim("logcumsumexp", dim, input.dim())
    if input.dim() == 0 or input.shape[d] == 0:
        return input.clone()
    # Row i of a triangle of all pairs: exact where elements lie far apart, where one shift for all is not.
    n = input.shape[d]
    x = input.movedim(d, -1)
    outside = _core.ones(n, n, dtype=_core.bool).triu(1)
    pairs = x.unsqueeze(-2).expand([*x.shape[:-1], n, n]).masked_fill(outside, -float("inf"))
    return _core.logsumexp(pairs, -1).movedim(-1, d).contiguous()


@with_out
@method
def diff(
    input: Tensor, n: int = 1, dim: int = -1, prepend: Tensor | None = None, append: Tensor | None = None
) -> Tensor:
    """The n-th differences of neighbours along dim, with `prepend` and `append` at the ends first."""
    if input.dim() == 0:
        raise RuntimeError("diff: expects input to be at least one-dimensional")
    d = wrap_dim("diff", dim, input.dim())
    if n < 0:
        raise RuntimeError(f"diff: order must be non-negative but got {n}")
    ends = [x for x in (prepend, input, append) if x is not None]
    if n == 0:
        return input.clone()
    for x in ends:
        if x.dim() != input.dim():
            raise RuntimeError("diff: expects prepend or append to be the same dimension as input")
    x = _core.cat(ends, d) if len(ends) > 1 else input
    for _ in range(min(n, x.shape[d])):  # of fewer elements than differences nothing is left
        size = x.shape[d]
        a, b = x.narrow(d, min(1, size), max(size - 1, 0)), x.narrow(d, 0, max(size - 1, 0))
        x = a ^ b if x.dtype == _core.bool else a - b
    return x


@with_out
@method
def aminmax(input: Tensor, *, dim: int | None = None, keepdim: bool = False) -> Any:
    """(min, max) of all elements, or along dim."""
    if dim is None:
        if input.numel() == 0:
            raise RuntimeError(
                "aminmax: cannot compute aminmax over an empty dimension as the operation has no identity"
            )
        low, high = _core.amin(input), _core.amax(input)
        if keepdim:
            low, high = (x.reshape([1] * input.dim()) for x in (low, high))
        return named("aminmax", low, high)
    return named("aminmax", _core.amin(input, dim, keepdim), _core.amax(input, dim, keepdim))


def _without_nan(x: Tensor) -> Tensor:
    return _core.where(x != x, _core.zeros_like(x), x) if x.dtype.is_floating_point else x


@with_out
@method
def nansum(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The sum without the NaNs."""
    return _core.sum(_without_nan(input), dim, keepdim, dtype=dtype)


@with_out
@method
def nanmean(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The mean without the NaNs; NaN of none."""
    if not input.dtype.is_floating_point:
        raise RuntimeError(f"nanmean: expected input to have floating point dtype but got {input.dtype}")
    there = _core.sum((input == input).to(input.dtype), dim, keepdim)
    return nansum(input, dim, keepdim, dtype=dtype) / there


@with_out
@method
def nanmedian(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The median without the NaNs: of all elements, or (values, indices) along dim."""
    flat = input.reshape([-1]) if dim is None else input
    d = wrap_dim("nanmedian", 0 if dim is None else dim, flat.dim())
    if flat.dim() and flat.shape[d] == 0:
        if dim is None:
            return _core.full([], float("nan"), dtype=input.dtype)
        raise IndexError(
            f"nanmedian: Expected reduction dim {d} to have non-zero size; input has shape {tuple(input.shape)}"
        )
    order = _core.argsort(flat.detach(), d, stable=True)  # NaN last
    there = (flat == flat).to(_core.int64)
    count = there.sum(d, keepdim=True) if flat.dim() else there
    middle = ((count - 1).clamp(min=0)).div(2, rounding_mode="floor")
    at = _core.gather(order, d, middle) if flat.dim() else order
    values = _core.gather(flat, d, at)
    if dim is None:
        return values.reshape([])
    if flat.dim() and not keepdim:
        values, at = values.squeeze(d), at.squeeze(d)
    return named("nanmedian", values, at)


_INTERPOLATIONS = ("linear", "lower", "higher", "midpoint", "nearest")


def _quantile(
    op: str, input: Tensor, q: Any, dim: int | None, keepdim: bool, interpolation: str, skip_nan: bool
) -> Tensor:
    if not input.dtype.is_floating_point:
        raise RuntimeError(f"{op}: input tensor must be either float or double dtype, got {input.dtype}")
    if interpolation not in _INTERPOLATIONS:
        raise RuntimeError(
            f"{op}: interpolation must be one of linear, lower, higher, midpoint or nearest, but got {interpolation}"
        )
    qs = q if isinstance(q, Tensor) else _core.tensor(q, dtype=input.dtype)
    if qs.dim() > 1:
        raise RuntimeError(f"{op}: q must be a scalar or 1D tensor, got shape {tuple(qs.shape)}")
    if qs.dtype != input.dtype:
        raise RuntimeError(f"{op}: q tensor must be same dtype as the input tensor, got {qs.dtype} and {input.dtype}")
    if not bool(((qs >= 0) & (qs <= 1)).all()):
        raise RuntimeError(f"{op}: q values must be in the range [0, 1], got {qs.tolist()}")
    if input.numel() == 0:
        raise RuntimeError(f"{op}: input tensor must be non-empty")
    d = wrap_dim(op, 0 if dim is None else dim, input.dim())
    flat = input.reshape([-1]) if dim is None or input.dim() == 0 else input.movedim(d, -1)
    values = _core.sort(flat, -1)[0]
    n = flat.shape[-1]
    if skip_nan:
        last = (flat == flat).sum(-1, keepdim=True).to(input.dtype) - 1
        rank = qs * last.clamp(min=0)
    else:
        rank = (qs * (n - 1)).expand([*flat.shape[:-1], max(qs.numel(), 1)])
        with_nan = (flat != flat).any(-1, keepdim=True)
        rank = rank.masked_fill(with_nan, n - 1.0)  # NaN stands last
    if interpolation == "lower":
        rank = rank.floor()
    elif interpolation == "higher":
        rank = rank.ceil()
    elif interpolation == "nearest":
        rank = rank.round()
    low = rank.detach().floor().long()
    result = _core.gather(values, -1, low)
    if interpolation in ("linear", "midpoint"):
        weight = _core.full_like(rank, 0.5) if interpolation == "midpoint" else rank - rank.floor()
        weight = (
            _core.where(rank == rank.floor(), _core.zeros_like(weight), weight)
            if interpolation == "midpoint"
            else weight
        )
        upper = _core.gather(values, -1, rank.detach().ceil().long())
        result = _core.lerp(result, upper, weight)
    if keepdim:
        shape = [1] * input.dim() if dim is None else [1 if i == d else s for i, s in enumerate(input.shape)]
        result = result.movedim(-1, 0).reshape([max(qs.numel(), 0 if qs.dim() else 1), *shape])
    else:
        result = result.movedim(-1, 0)
    return result if qs.dim() else result.squeeze(0)


@with_out
@method
@in_float32
def quantile(
    input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Tensor:
    """The q-quantiles of all elements or along dim, interpolated between neighbours; several q become the first dim."""
    return _quantile("quantile", input, q, dim, keepdim, interpolation, False)


@with_out
@method
@in_float32
def nanquantile(
    input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Tensor:
    """quantile without the NaNs; NaN of none."""
    return _quantile("nanquantile", input, q, dim, keepdim, interpolation, True)


@method
def cov(
    input: Tensor, *, correction: int = 1, fweights: Tensor | None = None, aweights: Tensor | None = None
) -> Tensor:
    """The covariance matrix of variables in rows and observations in columns, each counted `fweights` times and
    weighted by `aweights`."""
    if input.dim() > 2:
        raise RuntimeError(
            f"cov: expected input to have two or fewer dimensions but got an input with {input.dim()} dimensions"
        )
    if input.dtype == _core.bool:
        raise RuntimeError("cov: bool dtype is not supported for input")
    x = input if input.dim() == 2 else input.reshape([1, -1])
    n = x.shape[1]
    weights = None
    for name, w in (("fweights", fweights), ("aweights", aweights)):
        if w is None:
            continue
        if w.dim() > 1:
            raise RuntimeError(f"cov: expected {name} to have one or fewer dimensions but got {w.dim()}")
        if name == "fweights" and (w.dtype.is_floating_point or w.dtype == _core.bool):
            raise RuntimeError(f"cov: expected fweights to have integral dtype but got fweights with {w.dtype} dtype")
        if name == "aweights" and not w.dtype.is_floating_point:
            raise RuntimeError(
                f"cov: expected aweights to have floating point dtype but got aweights with {w.dtype} dtype"
            )
        if w.numel() != n:
            raise RuntimeError(f"cov: expected {name} to have the same numel, {n}, got {w.numel()}")
        if bool((w < 0).any()):
            raise RuntimeError(f"cov: {name} cannot be negative")
        weights = w if weights is None else weights * w
    if weights is None:
        total: Any = n
        mean = x.sum(1, keepdim=True) / n
    else:
        total = weights.sum()
        if n and bool(total == 0):
            raise RuntimeError("cov: weights sum to zero, can't be normalized")
        mean = (x * weights).sum(1, keepdim=True) / total
    if weights is not None and aweights is not None and correction != 0:
        freedom = total - correction * (weights * aweights).sum() / total
    else:
        freedom = total - correction
    freedom = freedom.clamp(min=0) if isinstance(freedom, Tensor) else max(freedom, 0)
    rest = x - mean
    result = (rest @ (rest * weights if weights is not None else rest).t()) / freedom
    return result.squeeze() if input.dim() < 2 or result.numel() == 1 else result


@method
def corrcoef(input: Tensor) -> Tensor:
    """The correlation matrix of variables in rows, kept in [-1, 1]."""
    if input.dim() > 2:
        raise RuntimeError(
            f"corrcoef: expected input to have two or fewer dimensions but got an input with {input.dim()} dimensions"
        )
    c = cov(input)
    if c.dim() == 0:
        return c / c
    spread = c.diagonal().sqrt()
    return (c / spread.unsqueeze(1) / spread.unsqueeze(0)).clamp(-1, 1)


def _steps(op: str, y: Tensor, x: Tensor | None, dx: Any, dim: int) -> Any:
    d = wrap_dim(op, dim, y.dim())
    if x is None:
        return dx, d
    if x.dim() == 1 and y.dim() != 1:
        if x.shape[0] != y.shape[d]:
            raise RuntimeError(
                f"{op}: There must be one `x` value for each sample point, got {x.shape[0]} for {y.shape[d]}"
            )
        steps = diff(x)
        return steps.reshape([-1 if i == d else 1 for i in range(y.dim())]), d
    if x.dim() < y.dim():
        x = x.reshape([1] * (y.dim() - x.dim()) + list(x.shape))
    return diff(x, dim=d), d


def _areas(op: str, y: Tensor, x: Tensor | None, dx: Any, dim: int) -> tuple[Tensor, int]:
    need_tensor(op, "y", y)
    if y.dtype == _core.bool:
        raise RuntimeError(f"{op}: received a bool input for `y`, but bool is not supported")
    if y.dim() == 0:
        raise IndexError(f"{op}: y must have at least one dim")
    steps, d = _steps(op, y, x, dx, dim)
    n = y.shape[d]
    pairs = y.narrow(d, 0, max(n - 1, 0)) + y.narrow(d, min(1, n), max(n - 1, 0))
    return pairs * steps / 2.0, d


def trapezoid(y: Tensor, x: Tensor | None = None, *, dx: Any = 1, dim: int = -1) -> Tensor:
    """The integral along dim by the trapezoidal rule, at points x or dx apart."""
    areas, d = _areas("trapezoid", y, x, dx, dim)
    return areas.sum(d)


trapz = trapezoid


def cumulative_trapezoid(y: Tensor, x: Tensor | None = None, *, dx: Any = 1, dim: int = -1) -> Tensor:
    """The running integral along dim by the trapezoidal rule."""
    areas, d = _areas("cumulative_trapezoid", y, x, dx, dim)
    return _core.cumsum(areas, d)


@with_out
@with_inplace
def renorm(input: Tensor, p: float, dim: int, maxnorm: float) -> Tensor:
    """Each slice along dim scaled down to a p-norm of at most maxnorm."""
    if not p > 0:
        raise RuntimeError(f"renorm: non-positive-norm not supported, got p = {p}")
    if input.dim() < 2:
        raise RuntimeError(f"renorm: input needs at least 2 dimensions, got {input.dim()}")
    if not maxnorm >= 0:
        raise RuntimeError(f"renorm: expected maxnorm to be >= 0 but got {maxnorm}")
    d = wrap_dim("renorm", dim, input.dim())
    if not input.dtype.is_floating_point:
        raise DTypeError(f"renorm: needs a floating tensor, got {input.dtype}")
    norms = _core.norm(input, p, [i for i in range(input.dim()) if i != d], True)
    factor = _core.where(norms > maxnorm, maxnorm / (norms + 1e-7), _core.ones_like(norms))
    return (input * factor).contiguous()


@method
def sum_to_size(input: Tensor, *size: Any) -> Tensor:
    """Summed over the dims that a tensor of that size was broadcast over."""
    shape: Sequence[int] = size[0] if len(size) == 1 and not isinstance(size[0], int) else size
    if len(shape) == 0:
        return input.sum()
    lead = input.dim() - len(shape)
    if lead < 0 or any(n not in (1, m) for n, m in zip(shape, input.shape[lead:], strict=True)):
        raise RuntimeError(f"sum_to_size: size {{{list(shape)}}} is not expandable to size {{{list(input.shape)}}}.")
    over = list(range(lead)) + [lead + i for i, n in enumerate(shape) if n == 1 and input.shape[lead + i] != 1]
    return input.sum(over, keepdim=True).reshape(list(shape)) if over else input
