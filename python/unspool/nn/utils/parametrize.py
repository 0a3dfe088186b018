"""Parametrizations: a parameter computed from others each time it is read.

`register_parametrization` moves the tensor to `module.parametrizations.<name>.original`, gives the module a class of
its own and puts a property in the tensor's place. `parametrizations.py` holds the ready-made ones.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from unspool import _core
from unspool.autograd.grad_mode import no_grad
from unspool.nn.modules.container import ModuleDict, ModuleList
from unspool.nn.modules.module import Module
from unspool.nn.parameter import Parameter

__all__ = [
    "ParametrizationList", "cached", "is_parametrized", "register_parametrization", "remove_parametrizations",
    "type_before_parametrizations",
]  # fmt: skip


class _Cache:
    depth = 0
    values: dict[tuple[int, str], Any] = {}  # noqa: RUF012 - one for the process


@contextmanager
def cached() -> Iterator[None]:
    """Within this context a parametrized tensor is computed once, when it is first read."""
    _Cache.depth += 1
    try:
        yield
    finally:
        _Cache.depth -= 1
        if _Cache.depth == 0:
            _Cache.values.clear()


def _register(module: Any, name: str, tensor: Any) -> None:
    if isinstance(tensor, Parameter):
        module.register_parameter(name, tensor)
    else:
        module.register_buffer(name, tensor)


def _put(tensor: Any, value: Any) -> None:
    """Give an existing tensor other values, perhaps of another shape; it stays the same object."""
    tensor.data = value.detach()


def _check_same(what: str, got: Any, original: Any) -> None:
    if not isinstance(got, _core.Tensor):
        raise ValueError(f"register_parametrization: {what} must return a tensor, got {type(got).__name__}")
    if got.dtype != original.dtype:
        raise ValueError(
            f"register_parametrization: {what} changes the dtype from {original.dtype} to {got.dtype}; unless "
            "unsafe=True it must keep it"
        )
    if got.shape != original.shape:
        raise ValueError(
            f"register_parametrization: {what} changes the shape from {tuple(original.shape)} to {tuple(got.shape)}; "
            "unless unsafe=True it must keep it"
        )


class ParametrizationList(ModuleList):
    """The parametrizations of one tensor, applied in order, and what they are applied to.

    That is `original`, or, where the first one's right_inverse gives several tensors, `original0`, `original1`, …
    """

    def __init__(self, modules: Sequence[Any], original: Any, unsafe: bool = False) -> None:
        if len(modules) == 0:
            raise ValueError("ParametrizationList: at least one parametrization is needed")
        super().__init__(modules)
        self.unsafe = unsafe
        new: Any = original
        with no_grad():
            for module in reversed(list(self)):
                if hasattr(module, "right_inverse"):
                    try:
                        new = module.right_inverse(new)
                    except NotImplementedError:
                        break
        if not isinstance(new, (_core.Tensor, Sequence)):
            raise ValueError(
                f"ParametrizationList: right_inverse must return a Tensor or a Sequence of them, got "
                f"{type(new).__name__}"
            )
        self.is_tensor = isinstance(new, _core.Tensor)
        self.ntensors = 1 if self.is_tensor else len(new)
        if isinstance(new, _core.Tensor):
            if new.dtype != original.dtype:
                raise ValueError(
                    f"ParametrizationList: right_inverse changes the dtype from {original.dtype} to {new.dtype}"
                )
            if new is not original:
                _put(original, new)
            _register(self, "original", original)
        else:
            for i, part in enumerate(new):
                if not isinstance(part, _core.Tensor):
                    raise ValueError(
                        f"ParametrizationList: right_inverse must return Tensors, element {i} is {type(part).__name__}"
                    )
                if isinstance(original, Parameter):
                    part = Parameter(part.detach(), original.requires_grad)
                _register(self, f"original{i}", part)
        if not unsafe:
            _check_same("the parametrization", self(), original)

    def _originals(self) -> list[Any]:
        if self.is_tensor:
            return [self.original]
        return [getattr(self, f"original{i}") for i in range(self.ntensors)]

    def right_inverse(self, value: Any) -> None:
        """Set the originals so that the tensor becomes `value`; each parametrization needs a right_inverse."""
        with no_grad():
            for module in reversed(list(self)):
                if not hasattr(module, "right_inverse"):
                    raise RuntimeError(f"{type(module).__name__} has no right_inverse, so its tensor can't be assigned")
                value = module.right_inverse(value)
            own = self._originals()
            parts = [value] if self.is_tensor else list(value)
            if len(parts) != len(own):
                raise ValueError(f"right_inverse: {len(own)} tensors are expected, got {len(parts)}")
            for tensor, part in zip(own, parts, strict=True):
                if not isinstance(part, _core.Tensor):
                    raise ValueError(f"right_inverse: must return a Tensor, got {type(part).__name__}")
                if part.dtype != tensor.dtype:
                    raise ValueError(f"right_inverse: the dtype must stay {tensor.dtype}, got {part.dtype}")
                _put(tensor, part)

    def forward(self) -> Any:
        first, *rest = list(self)
        value = first(*self._originals())
        for module in rest:
            value = module(value)
        return value


def _copied(self: Any, memo: dict[int, Any]) -> Any:
    kind: Any = type(self)
    made = kind.__new__(kind)
    memo[id(self)] = made
    made.__dict__.update(copy.deepcopy(self.__dict__, memo))
    # A class of its own: a parametrization that is removed from one must stay in the other.
    members = {k: v for k, v in vars(kind).items() if k not in ("__dict__", "__weakref__")}
    made.__class__ = type(kind.__name__, kind.__bases__, members)
    return made


def _no_pickle(self: Any) -> Any:
    raise RuntimeError(
        f"{type(self).__name__}: a parametrized module can't be pickled; save its state_dict(), or call "
        "remove_parametrizations first"
    )


def _property(name: str) -> property:
    def read(self: Any) -> Any:
        if _Cache.depth == 0:
            return self.parametrizations[name]()
        key = (id(self), name)
        if key not in _Cache.values:
            _Cache.values[key] = self.parametrizations[name]()
        return _Cache.values[key]

    def write(self: Any, value: Any) -> None:
        _Cache.values.pop((id(self), name), None)
        self.parametrizations[name].right_inverse(value)

    return property(read, write)


def register_parametrization(module: Any, tensor_name: str, parametrization: Any, *, unsafe: bool = False) -> Any:
    """Compute `module.<tensor_name>` by the module `parametrization` from now on; returns `module`.

    Its forward gives the tensor from the original; an optional right_inverse gives the original from a tensor, at the
    start and at assignments. A second parametrization of the same tensor is applied to the result of the first.

    Raises:
        ValueError: there is no such tensor, or (unless `unsafe`) shape or dtype would change.
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        held = module.parametrizations[tensor_name]
        if not unsafe:
            now = getattr(module, tensor_name)
            then = parametrization(now)
            _check_same("the parametrization", then, now)
            if hasattr(parametrization, "right_inverse"):
                try:
                    back = parametrization.right_inverse(then)
                except NotImplementedError:
                    pass
                else:
                    _check_same("right_inverse", back, now)
        held.append(parametrization)
        held.unsafe |= unsafe
    elif tensor_name in module._parameters or tensor_name in module._buffers:
        original = getattr(module, tensor_name)
        held = ParametrizationList([parametrization], original, unsafe)
        delattr(module, tensor_name)
        if not is_parametrized(module):
            base = type(module)
            members = {"__getstate__": _no_pickle, "__deepcopy__": _copied}
            module.__class__ = type(f"Parametrized{base.__name__}", (base,), members)
            module.parametrizations = ModuleDict()
        setattr(type(module), tensor_name, _property(tensor_name))
        module.parametrizations[tensor_name] = held
    else:
        raise ValueError(
            f"register_parametrization: {type(module).__name__} has no parameter, buffer or parametrized tensor named "
            f"{tensor_name!r}"
        )
    return module


def is_parametrized(module: Any, tensor_name: str | None = None) -> bool:
    """Whether the module, or that tensor of it, has parametrizations."""
    held = module.__dict__.get("_modules", {}).get("parametrizations")
    if not isinstance(held, ModuleDict):
        return False
    return len(held) > 0 if tensor_name is None else tensor_name in held


def remove_parametrizations(module: Any, tensor_name: str, leave_parametrized: bool = True) -> Any:
    """Put a plain tensor in place of a parametrized one; returns `module`.

    Its value is the present one, or (`leave_parametrized` false) the original.

    Raises:
        ValueError: the tensor isn't parametrized, or made of several, which can't be put in its place.
    """
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"remove_parametrizations: {type(module).__name__} has no parametrization of {tensor_name!r}")
    held = module.parametrizations[tensor_name]
    if held.is_tensor:
        tensor = held.original
        if leave_parametrized:
            with no_grad():
                _put(tensor, getattr(module, tensor_name))
    elif leave_parametrized:
        tensor = getattr(module, tensor_name)
        trained = tensor.requires_grad or any(isinstance(t, Parameter) for t in held._originals())
        tensor = Parameter(tensor.detach(), tensor.requires_grad) if trained else tensor.detach()
    else:
        raise ValueError(
            "remove_parametrizations: leave_parametrized=False is not possible, because the tensor is made of "
            f"{held.ntensors} others"
        )
    delattr(type(module), tensor_name)
    del module.parametrizations[tensor_name]
    _register(module, tensor_name, tensor)
    if not is_parametrized(module):
        delattr(module, "parametrizations")
        module.__class__ = type(module).__bases__[0]
    return module


def type_before_parametrizations(module: Module) -> type:
    """The module's class, without the one that parametrizations gave it."""
    return type(module).__bases__[0] if is_parametrized(module) else type(module)
