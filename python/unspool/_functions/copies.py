"""Views under names that end in `_copy`: the same elements in memory of their own."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from unspool import _core
from unspool._core import Tensor
from unspool._functions._methods import with_out
from unspool._functions.marks import split_with_sizes

__all__ = [
    "alias_copy", "as_strided_copy", "diagonal_copy", "expand_copy", "permute_copy", "split_with_sizes_copy",
    "squeeze_copy", "t_copy", "transpose_copy", "unbind_copy", "unfold_copy", "unsqueeze_copy", "view_copy",
]  # fmt: skip


def _copied(view: Callable[..., Any]) -> Callable[..., Any]:
    """A function whose results are those of `view`, contiguous and no views."""

    @wraps(view)
    def copy(*args: Any, **kwargs: Any) -> Any:
        found = view(*args, **kwargs)
        if isinstance(found, Tensor):
            return found.clone(memory_format=_core.contiguous_format)
        return tuple(part.clone(memory_format=_core.contiguous_format) for part in found)

    copy.__name__ = copy.__qualname__ = f"{view.__name__}_copy"
    copy.__doc__ = f"`{view.__name__}`, copied."
    copy.__module__ = "unspool"
    return with_out(copy)


def _alias(input: Tensor) -> Tensor:
    return input.view_as(input)


def _view(input: Tensor, *size: Any, dtype: Any = None) -> Tensor:
    if dtype is not None or (len(size) == 1 and isinstance(size[0], _core.dtype)):
        return input.view(size[0] if size else dtype)
    return input.reshape(*size)  # whose elements may lie anywhere


_alias.__name__, _view.__name__ = "alias", "view"
alias_copy = _copied(_alias)
as_strided_copy = _copied(_core.as_strided)
diagonal_copy = _copied(_core.diagonal)
expand_copy = _copied(Tensor.expand)
permute_copy = _copied(_core.permute)
split_with_sizes_copy = _copied(split_with_sizes)
squeeze_copy = _copied(_core.squeeze)
t_copy = _copied(_core.t)
transpose_copy = _copied(_core.transpose)
unbind_copy = _copied(_core.unbind)
unfold_copy = _copied(Tensor.unfold)
unsqueeze_copy = _copied(_core.unsqueeze)
view_copy = _copied(_view)
