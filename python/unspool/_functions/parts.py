"""Parts of a tensor and tensors with a part replaced: sides of splits, windows, diagonals, triangles' indices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from unspool import _core
from unspool._core import ShapeError, Tensor
from unspool._functions._methods import add, check_device, method, need_tensor, wrap_dim
from unspool._naming import shown_as

__all__ = [
    "adjoint",
    "as_strided_scatter",
    "diag_embed",
    "diagflat",
    "diagonal_scatter",
    "dsplit",
    "fliplr",
    "flipud",
    "hsplit",
    "ravel",
    "rot90",
    "select_scatter",
    "slice_scatter",
    "split",
    "tensor_split",
    "tril_indices",
    "triu_indices",
    "unravel_index",
    "unsafe_split",
    "vsplit",
]

_split = _core.split
_MOST = 8  # numbers that an operation's list holds


@method
def split(
    tensor: Tensor, split_size_or_sections: int | Sequence[int] | None = None, dim: int = 0, *, split_size: Any = None
) -> tuple[Tensor, ...]:
    """Views along dim: of split_size slices each, the last may be shorter, or of the sizes in a sequence."""
    sizes: Any = split_size if split_size_or_sections is None else split_size_or_sections
    if isinstance(sizes, int) or not hasattr(sizes, "__len__") or len(sizes) <= _MOST:
        return _split(tensor, sizes, dim)
    if min(sizes) < 0 or sum(sizes) != tensor.shape[dim]:
        raise RuntimeError(
            f"split: the {len(sizes)} sizes must not be negative and add up to the size of dimension {dim}, "
            f"{tensor.shape[dim]}; got {list(sizes)}"
        )
    parts: list[Tensor] = []
    start = 0
    for i in range(0, len(sizes), _MOST):
        some = list(sizes[i : i + _MOST])
        parts += _split(tensor.narrow(dim, start, sum(some)), some, dim)
        start += sum(some)
    return tuple(parts)


unsafe_split = split
add("unsafe_split", unsafe_split)


@method
def tensor_split(
    input: Tensor, indices_or_sections: int | Sequence[int] | Tensor | None = None, dim: int = 0, **kwargs: Any
) -> tuple[Tensor, ...]:
    """Views along dim: so many parts, the first ones longer by one where it does not divide, or cut at indices."""
    cuts: Any = kwargs.pop("indices", kwargs.pop("sections", indices_or_sections))
    if kwargs or cuts is None:
        raise TypeError(f"tensor_split: needs indices or sections, got {kwargs}")
    if input.dim() == 0:
        raise RuntimeError("tensor_split: expected at least a 1-dimensional tensor, but got a tensor with 0 dims")
    d = wrap_dim("tensor_split", dim, input.dim())
    if isinstance(cuts, Tensor):
        if cuts.dtype != _core.int64 or cuts.dim() > 1:
            raise RuntimeError(
                f"tensor_split: tensor_indices_or_sections must be a 0-d or 1-d int64 tensor, got {cuts.dtype} of "
                f"shape {tuple(cuts.shape)}"
            )
        cuts = cuts.tolist()
    n = input.shape[d]
    if isinstance(cuts, int):
        if cuts <= 0:
            raise RuntimeError(f"tensor_split: number of sections must be larger than 0, got {cuts}")
        if cuts > 2**24:
            raise MemoryError(f"tensor_split: {cuts} sections do not fit into memory")
        whole, rest = divmod(n, cuts)
        ends = [whole * (i + 1) + min(i + 1, rest) for i in range(cuts)]
        starts = [0, *ends[:-1]]
    else:
        starts, ends = [0, *cuts], [*cuts, n]
    everything = (slice(None),) * d
    return tuple(input[(*everything, slice(a, b))] for a, b in zip(starts, ends, strict=True))


def _side(op: str, input: Tensor, cuts: Any, dim: int, least: int) -> tuple[Tensor, ...]:
    need_tensor(op, "input", input)
    if input.dim() < least:
        raise RuntimeError(f"{op}: requires a tensor with at least {least} dims, but got one with {input.dim()} dims")
    if isinstance(cuts, int) and (cuts <= 0 or input.shape[dim] % cuts):
        raise RuntimeError(
            f"{op}: attempted to split along dimension {dim}, but the size of the dimension {input.shape[dim]} is not "
            f"divisible by the split_size {cuts}!"
        )
    return tensor_split(input, cuts, dim)


@method
def hsplit(input: Tensor, indices_or_sections: Any = None, **kwargs: Any) -> tuple[Tensor, ...]:
    """tensor_split into equal parts along dim 1, of a 1-d tensor along dim 0."""
    cuts = kwargs.get("indices", kwargs.get("sections", indices_or_sections))
    return _side("hsplit", input, cuts, 0 if input.dim() == 1 else 1, 1)


@method
def vsplit(input: Tensor, indices_or_sections: Any = None, **kwargs: Any) -> tuple[Tensor, ...]:
    """tensor_split into equal parts along dim 0."""
    return _side("vsplit", input, kwargs.get("indices", kwargs.get("sections", indices_or_sections)), 0, 2)


@method
def dsplit(input: Tensor, indices_or_sections: Any = None, **kwargs: Any) -> tuple[Tensor, ...]:
    """tensor_split into equal parts along dim 2."""
    return _side("dsplit", input, kwargs.get("indices", kwargs.get("sections", indices_or_sections)), 2, 3)


@method
def ravel(input: Tensor) -> Tensor:
    """All elements in one dim: a view of a contiguous tensor, a copy of another."""
    return input.contiguous().view(-1)


@method
def adjoint(input: Tensor) -> Tensor:
    """A view with the last two dims exchanged."""
    if input.dim() < 2:
        raise RuntimeError(f"adjoint: needs at least 2 dims, got shape {tuple(input.shape)}")
    return input.transpose(-2, -1)


@method
def fliplr(input: Tensor) -> Tensor:
    """A copy with dim 1 in reverse order."""
    if input.dim() < 2:
        raise RuntimeError(f"fliplr: Input must be >= 2-d, got shape {tuple(input.shape)}")
    return input.flip(1)


@method
def flipud(input: Tensor) -> Tensor:
    """A copy with dim 0 in reverse order."""
    if input.dim() < 1:
        raise RuntimeError("flipud: Input must be >= 1-d, got a 0-d tensor")
    return input.flip(0)


@method
@shown_as("Rot90Backward0")
def rot90(input: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """The plane of two dims turned k times by 90 degrees, from the first towards the second."""
    if len(dims) != 2:
        raise RuntimeError(f"rot90: expected total rotation dims == 2, but got {len(dims)}")
    if input.dim() < 2:
        raise RuntimeError(f"rot90: expected total dims >= 2, but got total dims = {input.dim()}")
    a, b = (wrap_dim("rot90", d, input.dim()) for d in dims)
    if a == b:
        raise RuntimeError(f"rot90: expected rotation dims to be different, but got {tuple(dims)}")
    if k % 4 == 0:
        return input.clone(memory_format=_core.contiguous_format)
    if k % 4 == 2:
        return input.flip(a, b)
    return input.flip(b if k % 4 == 1 else a).transpose(a, b)


@method
@shown_as("DiagEmbedBackward0")
def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Zeros with the last dim of the input on the diagonal of two new dims."""
    n = input.dim() + 1
    a, b = wrap_dim("diag_embed", dim1, n), wrap_dim("diag_embed", dim2, n)
    if a == b:
        raise RuntimeError(f"diag_embed: diagonal dimensions cannot be identical {dim1}, {dim2}")
    if input.dim() == 0:
        raise RuntimeError("diag_embed: input must be at least 1-dimensional")
    size = input.shape[-1] + abs(offset)
    shape = list(input.shape[:-1])
    for d in sorted((a, b)):
        shape.insert(d, size)
    result = _core.zeros(shape, dtype=input.dtype)
    return diagonal_scatter(result, input, offset, a, b)


@method
def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    """A square matrix with all elements of the input on a diagonal."""
    return diag_embed(input.reshape([-1]), offset)


def _scattered(op: str, input: Tensor, src: Tensor, part: Any) -> Tensor:
    need_tensor(op, "src", src)
    result = input.clone()
    view = part(result)
    if view.shape != src.shape:
        raise ShapeError(
            f"{op}: expected src to have a size equal to the slice of self. src size = {tuple(src.shape)}, slice size "
            f"= {tuple(view.shape)}"
        )
    view.copy_(src)
    return result


@method
def diagonal_scatter(input: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """A copy of the input with `src` on its diagonal."""
    return _scattered("diagonal_scatter", input, src, lambda y: y.diagonal(offset, dim1, dim2))


@method
def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """A copy of the input with `src` as slice `index` of dim."""
    return _scattered("select_scatter", input, src, lambda y: y.select(dim, index))


@method
def slice_scatter(
    input: Tensor, src: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Tensor:
    """A copy of the input with `src` as the slices start:end:step of dim."""
    d = wrap_dim("slice_scatter", dim, input.dim())
    where = (*(slice(None),) * d, slice(start, end, step))
    return _scattered("slice_scatter", input, src, lambda y: y[where])


@method
def as_strided_scatter(
    input: Tensor, src: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None
) -> Tensor:
    """A copy of the input with `src` where as_strided of it would look."""
    need_tensor("as_strided_scatter", "src", src)
    # the copy starts at 0 of a storage of its own; of the input's elements alone
    start = 0 if storage_offset is None else storage_offset - input.storage_offset()
    return _scattered("as_strided_scatter", input, src, lambda y: _core.as_strided(y, size, stride, start))


def _triangle(op: str, row: int, col: int, inside: Any, dtype: Any, offset: int, device: Any) -> Tensor:
    check_device(device)
    if row < 0 or col < 0:
        raise RuntimeError(f"{op}: row and col must be non-negative, got row={row}, col={col}")
    places = inside(_core.ones(row, col), offset).nonzero().t().contiguous()
    return places.to(dtype or _core.int64)


def tril_indices(
    row: int,
    col: int,
    offset: int = 0,
    *,
    dtype: Any = None,
    device: Any = None,
    layout: Any = None,
    pin_memory: Any = None,
) -> Tensor:
    """The indices of the lower triangle of a row × col matrix, (2, n), row after row."""
    return _triangle("tril_indices", row, col, _core.tril, dtype, offset, device)


def triu_indices(
    row: int,
    col: int,
    offset: int = 0,
    *,
    dtype: Any = None,
    device: Any = None,
    layout: Any = None,
    pin_memory: Any = None,
) -> Tensor:
    """The indices of the upper triangle of a row × col matrix, (2, n), row after row."""
    return _triangle("triu_indices", row, col, _core.triu, dtype, offset, device)


def unravel_index(indices: Tensor, shape: int | Sequence[int]) -> tuple[Tensor, ...]:
    """Flat positions in a tensor of that shape as one index tensor a dim."""
    need_tensor("unravel_index", "indices", indices)
    if indices.dtype.is_floating_point or indices.dtype == _core.bool:
        raise ValueError(f"unravel_index: expected 'indices' to be an integer dtype, but got {indices.dtype}")
    sizes = [shape] if isinstance(shape, int) else list(shape)
    if any(n < 0 for n in sizes):
        raise ValueError(f"unravel_index: 'shape' cannot have negative values, but got {tuple(sizes)}")
    parts, rest = [], indices
    for n in reversed(sizes):
        parts.append(rest % n)
        rest = rest.div(n, rounding_mode="floor")
    return tuple(reversed(parts))
