"""The lists of what a module and those below it hold, and finding one of them by its dotted name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from unspool.nn.modules._registry import Registry

__all__ = ["Walkable"]


class Walkable(Registry):
    """The part of `Module` that is about the tree of modules."""

    def named_modules(
        self, memo: set[Any] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Any]]:
        """(dotted name, module) of this module (named `prefix`) and all below, parents first, each object once."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, child in self._modules.items():
            if child is not None:
                yield from child.named_modules(memo, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def modules(self) -> Iterator[Any]:
        """This module and all below it, parents first, each object once."""
        seen: set[Any] = set()
        ahead: list[Any] = [self]
        while ahead:
            module = ahead.pop()
            if module is None or module in seen:
                continue
            seen.add(module)
            yield module
            ahead.extend(reversed(module._modules.values()))

    def named_children(self) -> Iterator[tuple[str, Any]]:
        """(name, module) of the direct children, each object once."""
        seen = set()
        for name, child in self._modules.items():
            if child is not None and child not in seen:
                seen.add(child)
                yield name, child

    def children(self) -> Iterator[Any]:
        """The direct children, each object once."""
        for _, child in self.named_children():
            yield child

    def _named(self, table: str, prefix: str, recurse: bool, unique: bool) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        below = self.named_modules(prefix=prefix, remove_duplicate=unique) if recurse else [(prefix, self)]
        for where, module in below:
            for name, tensor in module.__dict__[table].items():
                if tensor is None or id(tensor) in seen:
                    continue
                if unique:
                    seen.add(id(tensor))
                yield (f"{where}.{name}" if where else name), tensor

    def _once(self, table: str, recurse: bool) -> Iterator[Any]:
        """What `_named` gives, without names and each object once: in half the time."""
        seen: set[int] = set()
        for module in self.modules() if recurse else (self,):
            for tensor in module.__dict__[table].values():
                if tensor is not None and id(tensor) not in seen:
                    seen.add(id(tensor))
                    yield tensor

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Any]]:
        """(dotted name, parameter) of this module and, with `recurse`, of all below."""
        return self._named("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Any]:
        """The parameters of this module and, with `recurse`, of all below, each object once."""
        return self._once("_parameters", recurse)

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Any]]:
        """(dotted name, buffer) of this module and, with `recurse`, of all below."""
        return self._named("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Any]:
        """The buffers of this module and, with `recurse`, of all below, each object once."""
        return self._once("_buffers", recurse)

    def get_submodule(self, target: str) -> Any:
        """The module under the dotted name `target` ('' is this one); AttributeError where there is none."""
        module: Any = self
        for name in target.split(".") if target else ():
            found = getattr(module, name, None)
            if not isinstance(found, Registry):
                where = f"{type(module).__name__} has no submodule {name!r}"
                raise AttributeError(f"get_submodule: {where}; the target was {target!r}")
            module = found
        return module

    def _get(self, op: str, table: str, target: str) -> Any:
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if name not in module.__dict__[table]:
            raise AttributeError(f"{op}: {type(module).__name__} has no {op[4:]} {name!r}; the target was {target!r}")
        return module.__dict__[table][name]

    def get_parameter(self, target: str) -> Any:
        """The parameter under the dotted name `target`; AttributeError where there is none."""
        return self._get("get_parameter", "_parameters", target)

    def get_buffer(self, target: str) -> Any:
        """The buffer under the dotted name `target`; AttributeError where there is none."""
        return self._get("get_buffer", "_buffers", target)

    def set_submodule(self, target: str, module: Any, strict: bool = False) -> None:
        """Put `module` under the dotted name `target`; with `strict`, only where there is a module already.

        Raises:
            ValueError: an empty name, or `module` is no Module.
            AttributeError: there is no module on the way, none at the end (`strict`), or something else than one.
        """
        if target == "":
            raise ValueError("set_submodule: the target is empty; a name is needed")
        if not isinstance(module, Registry):
            raise ValueError(f"set_submodule: module must be a Module, got {type(module).__name__}")
        path, _, name = target.rpartition(".")
        parent = self.get_submodule(path)
        if strict and not hasattr(parent, name):
            raise AttributeError(f"set_submodule: {type(parent).__name__} has no attribute {name!r} to replace")
        if hasattr(parent, name) and not isinstance(getattr(parent, name), Registry):
            raise AttributeError(f"set_submodule: {name!r} of {type(parent).__name__} is not a Module")
        setattr(parent, name, module)
