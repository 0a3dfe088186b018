"""Containers of parameters, and of a branch beside its input: ParameterList, ParameterDict, Residual."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from unspool import _core
from unspool.nn.modules.container import Sequential
from unspool.nn.modules.module import Module
from unspool.nn.parameter import Parameter

__all__ = ["ParameterDict", "ParameterList", "Residual"]


def _as_parameter(value: Any) -> Any:
    return Parameter(value) if isinstance(value, _core.Tensor) and not isinstance(value, Parameter) else value


def _shown(name: Any, value: Any) -> str:
    if isinstance(value, _core.Tensor):
        size = "x".join(str(n) for n in value.shape)
        kind = "Parameter" if isinstance(value, Parameter) else "Tensor"
        return f"  ({name}): {kind} containing: [{value.dtype} of size {size}]"
    return f"  ({name}): Object of type: {type(value).__name__}"


class ParameterList(Module):
    """A list whose tensors are parameters of the module."""

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        super().__init__()
        self._size = 0
        if values is not None:
            self.extend(values)

    def _place(self, index: int) -> str:
        i = index.__index__()
        if not -len(self) <= i < len(self):
            raise IndexError(f"ParameterList: index {i} is out of range for {len(self)} parameters")
        return str(i % len(self))

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return type(self)([self[i] for i in range(*index.indices(len(self)))])
        return getattr(self, self._place(index))

    def __setitem__(self, index: int, value: Any) -> None:
        setattr(self, self._place(index), _as_parameter(value))

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Any]:
        return iter(self[i] for i in range(len(self)))

    def __iadd__(self, values: Iterable[Any]) -> ParameterList:
        return self.extend(values)

    def append(self, value: Any) -> ParameterList:
        """Add one at the end."""
        setattr(self, str(self._size), _as_parameter(value))
        self._size += 1
        return self

    def extend(self, values: Iterable[Any]) -> ParameterList:
        """Add all at the end."""
        if isinstance(values, _core.Tensor) or not isinstance(values, Iterable):
            raise TypeError(f"ParameterList.extend: should be called with an iterable, but got {type(values).__name__}")
        for value in list(values):
            self.append(value)
        return self

    def extra_repr(self) -> str:
        return "\n".join(_shown(i, value) for i, value in enumerate(self))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("ParameterList should not be called.")


class ParameterDict(Module):
    """A dict whose tensors are parameters of the module."""

    def __init__(self, parameters: Any = None) -> None:
        super().__init__()
        self._keys: dict[str, None] = {}
        if parameters is not None:
            self.update(parameters)

    def __getitem__(self, key: str) -> Any:
        if key not in self._keys:
            raise KeyError(key)
        return getattr(self, str(key))

    def __setitem__(self, key: str, value: Any) -> None:
        self._keys[key] = None
        setattr(self, str(key), _as_parameter(value))

    def __delitem__(self, key: str) -> None:
        if key not in self._keys:
            raise KeyError(key)
        del self._keys[key]
        delattr(self, str(key))

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __reversed__(self) -> Iterator[str]:
        return reversed(list(self._keys))

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def copy(self) -> ParameterDict:
        """A dict of the same parameters."""
        return type(self)({k: self[k] for k in self._keys})

    def clear(self) -> None:
        """Take out all."""
        for key in list(self._keys):
            del self[key]

    def pop(self, key: str) -> Any:
        """Take out and return the one under `key`."""
        value = self[key]
        del self[key]
        return value

    def popitem(self) -> tuple[str, Any]:
        """Take out and return the last (key, parameter)."""
        key = next(reversed(list(self._keys)))
        return key, self.pop(key)

    def get(self, key: str, default: Any = None) -> Any:
        """The one under `key`, or `default`."""
        return self[key] if key in self._keys else default

    def setdefault(self, key: str, default: Any = None) -> Any:
        """The one under `key`, which becomes `default` where there is none."""
        if key not in self._keys:
            self[key] = default
        return self[key]

    def fromkeys(self, keys: Iterable[str], default: Any = None) -> ParameterDict:
        """A dict of those keys."""
        return type(self)(dict.fromkeys(keys, default))

    def keys(self) -> Any:
        """The keys."""
        return self._keys.keys()

    def items(self) -> Iterable[tuple[str, Any]]:
        """(key, parameter) pairs."""
        return ((k, self[k]) for k in self._keys)

    def values(self) -> Iterable[Any]:
        """The parameters."""
        return (self[k] for k in self._keys)

    def update(self, parameters: Any) -> None:
        """Add parameters from a mapping or from (key, parameter) pairs."""
        if not isinstance(parameters, (Mapping, ParameterDict, Iterable)) or isinstance(parameters, _core.Tensor):
            raise TypeError(
                f"ParameterDict.update: should be called with an iterable of pairs, but got {type(parameters).__name__}"
            )
        pairs = parameters.items() if isinstance(parameters, (Mapping, ParameterDict)) else parameters
        for pair in pairs:
            if len(pair) != 2:
                raise ValueError(f"ParameterDict.update: expected (key, parameter), got {len(pair)} elements")
            self[pair[0]] = pair[1]

    def extra_repr(self) -> str:
        return "\n".join(_shown(key, value) for key, value in self.items())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("ParameterDict should not be called.")


class Residual(Sequential):
    """shortcut(x) + scale · (the modules, one after the other, on x). unspool's own: PyTorch has none.

    Args:
        modules: the branch, as in Sequential.
        shortcut: a module for the other way, where shapes differ; None passes x on.
        scale: a factor on the branch.

    Raises:
        ShapeError: the branch's result has another shape than the shortcut's.
    """

    def __init__(self, *args: Any, shortcut: Any = None, scale: float = 1.0) -> None:
        super().__init__(*args)
        self.scale = scale
        if shortcut is not None:
            self.add_module("shortcut", shortcut)

    def _branch(self) -> list[Any]:
        return [module for name, module in self._modules.items() if name != "shortcut"]

    def __len__(self) -> int:
        return len(self._branch())

    def __iter__(self) -> Iterator[Any]:
        return iter(self._branch())

    def forward(self, input: Any) -> Any:
        branch = input
        for module in self._branch():
            branch = module(branch)
        shortcut = self._modules.get("shortcut")
        straight = input if shortcut is None else shortcut(input)
        if branch.shape != straight.shape:
            raise _core.ShapeError(
                f"Residual: the branch gives shape {tuple(branch.shape)}, the shortcut {tuple(straight.shape)}; give a "
                "shortcut module that maps the input to the branch's shape"
            )
        return straight + (branch if self.scale == 1.0 else branch * self.scale)

    def extra_repr(self) -> str:
        return "" if self.scale == 1.0 else f"scale={self.scale}"
