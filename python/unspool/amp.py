"""Mixed precision: `autocast`, which runs products in 16 bits, and `GradScaler`, which scales a loss against underflow.

On the CPU, as in PyTorch: products and linear layers take float32 inputs as bfloat16 (or float16), losses take 16-bit
inputs as float32, all else keeps its dtypes. What is asked for a GPU warns and does nothing.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, TypeVar

from unspool import _core
from unspool.autograd.grad_mode import no_grad

__all__ = ["GradScaler", "autocast", "custom_bwd", "custom_fwd", "is_autocast_available"]

_F = TypeVar("_F", bound=Callable[..., Any])
_DEVICES = ("cpu", "cuda", "mps", "xpu")


def is_autocast_available(device_type: str) -> bool:
    """Whether `autocast` has an effect on the device: on the CPU alone."""
    return device_type == "cpu"


def is_autocast_enabled(device_type: str = "cuda") -> bool:
    """Whether a scope of `autocast` for the device is around the call."""
    return device_type == "cpu" and bool(_core._autocast()[0])


def is_autocast_cpu_enabled() -> bool:
    """`is_autocast_enabled("cpu")`."""
    return is_autocast_enabled("cpu")


def get_autocast_dtype(device_type: str) -> Any:
    """What products run in under `autocast`; float16 for a GPU."""
    return _core._autocast()[1] if device_type == "cpu" else _core.float16


def set_autocast_enabled(device_type: str, enabled: bool) -> None:
    """Switch mixed precision on or off for this thread."""
    if device_type == "cpu":
        _core._set_autocast(enabled, _core._autocast()[1])


def set_autocast_dtype(device_type: str, dtype: Any) -> None:
    """What products run in under `autocast`, from now on."""
    if device_type == "cpu":
        _core._set_autocast(_core._autocast()[0], dtype)


class autocast:
    """A scope, or a decorator, in which products run in 16 bits.

    Args:
        device_type: 'cpu'; another warns, and nothing changes.
        dtype: bfloat16, which None means, or float16.
        enabled: False switches a scope around it off.

    Raises:
        RuntimeError: no such device.
    """

    def __init__(
        self, device_type: str, dtype: Any = None, enabled: bool = True, cache_enabled: bool | None = None
    ) -> None:
        if not isinstance(device_type, str):
            raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
        if device_type not in _DEVICES:
            raise RuntimeError(f"User specified an unsupported autocast device_type '{device_type}'")
        self.device = device_type
        self.fast_dtype = _core._autocast()[1] if dtype is None else dtype
        self._enabled = bool(enabled)
        if device_type != "cpu" and enabled:
            warnings.warn(f"{device_type} is not available. Disabling autocast.", UserWarning, stacklevel=2)
            self._enabled = False
        if self._enabled and self.fast_dtype not in (_core.bfloat16, _core.float16):
            warnings.warn(
                f"In CPU autocast, but the target dtype {self.fast_dtype} is not supported. Disabling autocast.\n"
                "CPU Autocast only supports dtype of torch.bfloat16, torch.float16 currently.",
                UserWarning,
                stacklevel=2,
            )
            self._enabled = False
        self._outside: list[Any] = []

    def __enter__(self) -> autocast:
        self._outside.append(_core._autocast())
        if self.device == "cpu":
            _core._set_autocast(self._enabled, self.fast_dtype if self._enabled else self._outside[-1][1])
        return self

    def __exit__(self, *_: object) -> None:
        _core._set_autocast(*self._outside.pop())

    def __call__(self, func: _F) -> _F:
        @wraps(func)
        def decorated(*args: Any, **kwargs: Any) -> Any:
            with self:
                return func(*args, **kwargs)

        return decorated  # type: ignore[return-value]


def custom_fwd(fwd: Any = None, *, device_type: str = "cpu", cast_inputs: Any = None) -> Any:
    """For the forward of an autograd.Function: with cast_inputs, autocast is off inside and floating inputs have it."""
    if fwd is None:
        return lambda f: custom_fwd(f, device_type=device_type, cast_inputs=cast_inputs)

    @wraps(fwd)
    def call(*args: Any, **kwargs: Any) -> Any:
        if cast_inputs is None or not _core._autocast()[0] or device_type != "cpu":
            return fwd(*args, **kwargs)
        with autocast("cpu", enabled=False):
            return fwd(
                *(a.to(cast_inputs) if isinstance(a, _core.Tensor) and a.is_floating_point() else a for a in args),
                **kwargs,
            )

    return call


def custom_bwd(bwd: Any = None, *, device_type: str = "cpu") -> Any:
    """For the backward of an autograd.Function: the function itself."""
    return bwd if bwd is not None else lambda f: f


class GradScaler:
    """Scales a loss, so that small gradients don't underflow in 16 bits, and leaves out steps whose gradients are not
    finite; the scale falls after these and grows after `growth_interval` steps without.

    For another device than the CPU it warns and is off: losses, gradients and steps pass through it as they are.
    """

    def __init__(
        self,
        device: str = "cuda",
        init_scale: float = 65536.0,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        self._enabled = bool(enabled)
        if enabled and not str(device).startswith("cpu"):
            warnings.warn(
                f"GradScaler is enabled, but {str(device).upper()} is not available.  Disabling.",
                UserWarning,
                stacklevel=2,
            )
            self._enabled = False
        if self._enabled and not (growth_factor > 1.0 and backoff_factor < 1.0):
            raise AssertionError(
                f"GradScaler: the growth factor must be > 1.0 and the backoff factor < 1.0, got {growth_factor!r} and "
                f"{backoff_factor!r}"
            )
        self._scale = float(init_scale)
        self._growth_factor, self._backoff_factor = growth_factor, backoff_factor
        self._growth_interval, self._growth_tracker = growth_interval, 0
        # by optimizer, since the last update: whether its gradients are finite
        self._finite: defaultdict[int, bool | None] = defaultdict(lambda: None)

    def scale(self, outputs: Any) -> Any:
        """`outputs`, a tensor or several, times the scale."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, _core.Tensor):
            return outputs * self._scale
        return type(outputs)(self.scale(y) for y in outputs)

    def unscale_(self, optimizer: Any) -> None:
        """Divide the gradients of the optimizer's parameters by the scale.

        Raises:
            RuntimeError: done already since the last update.
        """
        if not self._enabled:
            return
        if self._finite[id(optimizer)] is not None:
            raise RuntimeError("unscale_() has already been called on this optimizer since the last update().")
        finite = True
        with no_grad():
            for group in optimizer.param_groups:
                for p in group["params"]:
                    if p.grad is not None:
                        p.grad.mul_(1.0 / self._scale)
                        finite = finite and bool(_core.isfinite(p.grad).all())
        self._finite[id(optimizer)] = finite

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """`optimizer.step`, left out where a gradient is not finite."""
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs:
            raise RuntimeError("Closure use is not currently supported if GradScaler is enabled.")
        if self._finite[id(optimizer)] is None:
            self.unscale_(optimizer)
        return optimizer.step(*args, **kwargs) if self._finite[id(optimizer)] else None

    def update(self, new_scale: float | _core.Tensor | None = None) -> None:
        """Set the scale, to `new_scale` or by whether the steps since the last update had finite gradients."""
        if not self._enabled:
            return
        if new_scale is not None:
            self._scale = float(new_scale)
        elif not self._finite:
            raise AssertionError("No inf checks were recorded prior to update.")
        elif not all(self._finite.values()):
            self._scale *= self._backoff_factor
            self._growth_tracker = 0
        else:
            self._growth_tracker += 1
            if self._growth_tracker == self._growth_interval:
                self._scale *= self._growth_factor
                self._growth_tracker = 0
        self._finite.clear()

    def get_scale(self) -> float:
        """The scale; 1 where it is off."""
        return self._scale if self._enabled else 1.0

    def is_enabled(self) -> bool:
        """Whether it scales."""
        return self._enabled

    def state_dict(self) -> dict[str, Any]:
        """The scale and how it changes; empty where it is off."""
        if not self._enabled:
            return {}
        return {
            "scale": self._scale,
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._growth_tracker,
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over a `state_dict`."""
        if not self._enabled:
            return
        self._scale = float(state_dict["scale"])
        self._growth_factor, self._backoff_factor = state_dict["growth_factor"], state_dict["backoff_factor"]
        self._growth_interval, self._growth_tracker = state_dict["growth_interval"], state_dict["_growth_tracker"]
