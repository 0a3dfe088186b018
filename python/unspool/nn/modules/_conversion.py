"""Converting what a module holds: dtypes, and the one device there is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from unspool import _core
from unspool.autograd.grad_mode import no_grad
from unspool.nn.modules._state import Stateful

__all__ = ["Convertible"]

_C = TypeVar("_C", bound="Convertible")


def _check_device(op: str, device: Any) -> None:
    kind = getattr(device, "type", device)
    if device is not None and not isinstance(kind, str):
        raise TypeError(f"Module.{op}: expected a dtype, a device or a Tensor, got {type(device).__name__}")
    if isinstance(kind, str) and kind.partition(":")[0] != "cpu":
        raise RuntimeError(f"Module.{op}: there is only the device 'cpu', got {str(device)!r}")


class Convertible(Stateful):
    """The part of `Module` that converts."""

    def to(self: _C, *args: Any, **kwargs: Any) -> _C:
        """Convert floating-point parameters and buffers, in place: `to(dtype)`, `to(device, dtype)` or `to(tensor)`.

        `memory_format` is for those of 4 and 5 dims.

        Raises:
            TypeError: a dtype that is not floating-point, or an argument that is none of the above.
            RuntimeError: another device than the CPU.
        """
        dtype = kwargs.pop("dtype", None)
        devices = [kwargs.pop("device", None)]
        for known in ("non_blocking", "copy"):
            kwargs.pop(known, None)
        layout = kwargs.pop("memory_format", None)
        if layout is not None and not isinstance(layout, _core.memory_format):
            raise TypeError(f"Module.to: memory_format must be a memory_format, got {layout!r:.60}")
        if kwargs:
            raise TypeError(f"Module.to: unknown argument {next(iter(kwargs))!r}")
        for arg in args:
            if isinstance(arg, _core.Tensor):
                dtype = arg.dtype
            elif isinstance(arg, _core.dtype):
                dtype = arg
            elif not isinstance(arg, bool):  # non_blocking
                devices.append(arg)
        for device in devices:
            _check_device("to", device)
        if dtype is None and layout is None:
            return self
        if dtype is not None and not dtype.is_floating_point:
            raise TypeError(f"Module.to: only floating-point dtypes are possible, got {dtype}")

        def converted(t: Any) -> Any:
            kind = dtype if dtype is not None and t.is_floating_point() else t.dtype
            return t.to(kind, memory_format=layout if t.dim() in (4, 5) else None)

        return self._apply(converted)

    def float(self: _C) -> _C:
        """Floating-point parameters and buffers to float32, in place."""
        return self.to(_core.float32)

    def double(self: _C) -> _C:
        """Floating-point parameters and buffers to float64, in place."""
        return self.to(_core.float64)

    def cpu(self: _C) -> _C:
        """The module itself: everything lives on the CPU."""
        return self

    def half(self: _C) -> _C:
        """Floating-point parameters and buffers to float16, in place."""
        return self.to(_core.float16)

    def bfloat16(self: _C) -> _C:
        """Floating-point parameters and buffers to bfloat16, in place."""
        return self.to(_core.bfloat16)

    def type(self: _C, dst_type: Any) -> _C:
        """All parameters and buffers, integers too, to `dst_type`, a dtype or a name as 'torch.DoubleTensor'."""
        return self._apply(lambda t: t.type(dst_type))

    def to_empty(self: _C, *, device: Any, recurse: bool = True) -> _C:
        """Replace the values of all parameters and buffers by whatever is in fresh memory; `device` is 'cpu'."""
        _check_device("to_empty", device)
        return self._apply(lambda t: _core.empty_like(t, requires_grad=False), recurse=recurse)

    def cuda(self: _C, device: Any = None) -> _C:
        """Raises RuntimeError: there is only the CPU."""
        raise RuntimeError("Module.cuda: there is only the device 'cpu'; leave the module where it is")

    def share_memory(self: _C) -> _C:
        """Raises NotImplementedError: memory can't be shared between processes."""
        raise NotImplementedError(
            "Module.share_memory: unspool's memory belongs to one process; send the state_dict to the other instead"
        )

    def _apply(self: _C, fn: Callable[[Any], Any], recurse: bool = True) -> _C:
        """Replace every parameter's data and gradient, and every buffer, by `fn` of it; all or nothing."""
        with no_grad():
            changed: list[tuple[Any, Any, Any]] = []
            replaced: list[tuple[dict[str, Any], str, Any]] = []
            for p in self.parameters(recurse):
                changed.append((p, fn(p.data), None if p.grad is None else fn(p.grad.data)))
            for module in self.modules() if recurse else [self]:
                replaced += [(module._buffers, k, fn(b)) for k, b in module._buffers.items() if b is not None]
            for p, data, gradient in changed:
                p.grad = None  # its dtype must always be the data's
                p.data = data
                p.grad = gradient
            for table, name, buffer in replaced:
                table[name] = buffer
        return self
