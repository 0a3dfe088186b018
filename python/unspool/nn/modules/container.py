"""Modules that hold other modules in order or by name: `Sequential`, `ModuleList`, `ModuleDict`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from operator import index
from typing import Any, TypeVar

from unspool import _core
from unspool.nn.modules.module import Module, _indented

__all__ = ["ModuleDict", "ModuleList", "Sequential"]

_S = TypeVar("_S", bound="_Ordered")


class _Ordered(Module):
    """Children in order, under names that are numbers unless given otherwise; used as a list."""

    def _key(self, idx: Any) -> str:
        i, n = index(idx), len(self._modules)
        if not -n <= i < n:
            raise IndexError(f"{type(self).__name__}: index {i} is out of range for {n} modules")
        return list(self._modules)[i]

    def _of(self: _S, items: list[tuple[str, Any]]) -> _S:
        raise NotImplementedError

    def _refilled(self, children: Iterable[Any]) -> None:
        """Hold `children` under new numbers."""
        fresh = {str(i): child for i, child in enumerate(children)}
        self._modules.clear()
        self._modules.update(fresh)

    def __getitem__(self, idx: Any) -> Any:
        if isinstance(idx, slice):
            return self._of(list(self._modules.items())[idx])
        return self._modules[self._key(idx)]

    def __setitem__(self, idx: int, module: Any) -> None:
        self.add_module(self._key(idx), module)

    def __delitem__(self, idx: Any) -> None:
        names = list(self._modules)
        gone = set(names[idx]) if isinstance(idx, slice) else {self._key(idx)}
        self._refilled([child for name, child in self._modules.items() if name not in gone])

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._modules.values())

    def append(self: _S, module: Any) -> _S:
        """Add a module at the end."""
        self.add_module(str(len(self)), module)
        return self

    def insert(self: _S, index: int, module: Any) -> _S:
        """Put a module before the one at `index`; those after it get new numbers."""
        n = len(self)
        if not -n <= index <= n:
            raise IndexError(f"{type(self).__name__}.insert: index {index} is out of range for {n} modules")
        if not isinstance(module, Module):
            raise TypeError(f"{type(self).__name__}.insert: expected a Module, got {type(module).__name__}")
        children = list(self._modules.values())
        children.insert(index if index >= 0 else index + n, module)
        self._refilled(children)
        return self

    def extend(self: _S, modules: Iterable[Any]) -> _S:
        """Add modules at the end."""
        if not isinstance(modules, Iterable):
            raise TypeError(f"{type(self).__name__}.extend: expected an iterable, got {type(modules).__name__}")
        for module in list(modules):
            self.append(module)
        return self

    def pop(self, key: Any) -> Any:
        """Take out and return the module at `key`."""
        module = self[key]
        del self[key]
        return module

    def __add__(self: _S, other: Iterable[Any]) -> _S:
        return self._of(list(self._modules.items())).extend(other)

    def __iadd__(self: _S, other: Iterable[Any]) -> _S:
        return self.extend(other)


@_core._runs_natively
class Sequential(_Ordered):
    """Modules applied one after the other: `Sequential(a, b)` or `Sequential(OrderedDict(first=a, second=b))`.

    A `Linear` followed by a `ReLU`, neither of them hooked, are one operation of the same bits.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__()
        named = len(args) == 1 and isinstance(args[0], Mapping)
        for name, module in args[0].items() if named else enumerate(args):
            self.add_module(str(name), module)

    def _of(self: _S, items: list[tuple[str, Any]]) -> _S:
        make: Any = type(self)
        made: _S = make(dict(items))
        return made

    def forward(self, input: Any) -> Any:
        for module in self._modules.values():
            input = module(input)
        return input


class ModuleList(_Ordered):
    """A list of modules that are registered; it has no forward."""

    def __init__(self, modules: Iterable[Any] | None = None) -> None:
        super().__init__()
        if modules is not None:
            self.extend(modules)

    def _of(self: _S, items: list[tuple[str, Any]]) -> _S:
        make: Any = type(self)
        made: _S = make([module for _, module in items])
        return made

    def _child_lines(self) -> list[str]:
        """Runs of children that print alike take one line."""
        runs: list[tuple[int, int, str]] = []
        for i, child in enumerate(self):
            text = repr(child)
            if runs and runs[-1][2] == text:
                runs[-1] = (runs[-1][0], i, text)
            else:
                runs.append((i, i, text))
        heads = [f"({i}): " if i == j else f"({i}-{j}): {j - i + 1} x " for i, j, _ in runs]
        return [head + _indented(text) for head, (_, _, text) in zip(heads, runs, strict=True)]


class ModuleDict(Module):
    """A dict of modules that are registered; it has no forward."""

    def __init__(self, modules: Any = None) -> None:
        super().__init__()
        if modules is not None:
            self.update(modules)

    def __getitem__(self, key: str) -> Any:
        return self._modules[key]

    def __setitem__(self, key: str, module: Any) -> None:
        self.add_module(key, module)

    def __delitem__(self, key: str) -> None:
        del self._modules[key]

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __contains__(self, key: str) -> bool:
        return key in self._modules

    def clear(self) -> None:
        """Take out all modules."""
        self._modules.clear()

    def pop(self, key: str) -> Any:
        """Take out and return the module under `key`."""
        return self._modules.pop(key)

    def keys(self) -> Any:
        """The names."""
        return self._modules.keys()

    def items(self) -> Any:
        """(name, module) pairs."""
        return self._modules.items()

    def values(self) -> Any:
        """The modules."""
        return self._modules.values()

    def update(self, modules: Any) -> None:
        """Add modules from a mapping or from (name, module) pairs."""
        if not isinstance(modules, (Mapping, ModuleDict, Iterable)):
            raise TypeError(f"ModuleDict.update: expected a mapping or pairs, got {type(modules).__name__}")
        pairs = modules.items() if isinstance(modules, (Mapping, ModuleDict)) else modules
        for pair in pairs:
            if len(pair) != 2:
                raise ValueError(f"ModuleDict.update: expected (name, module), got {len(pair)} elements")
            self.add_module(pair[0], pair[1])
