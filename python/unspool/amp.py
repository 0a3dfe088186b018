"""Mixed precision, as programs ask for it that also run without: `autocast` and `GradScaler`, both off on the CPU.

There is no automatic choice of dtypes here. An autocast that is enabled for the CPU raises; one for a GPU warns and
does nothing, and a scaler is disabled, as in PyTorch where there is no GPU.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from unspool import _core

__all__ = ["GradScaler", "autocast", "is_autocast_available"]

_F = TypeVar("_F", bound=Callable[..., Any])
_DEVICES = ("cpu", "cuda", "mps", "xpu")


def is_autocast_available(device_type: str) -> bool:
    """False: operations keep their dtypes."""
    return False


class autocast:
    """A scope, or a decorator, that changes nothing.

    Raises:
        NotImplementedError: enabled for the CPU. Convert the model instead: `model.bfloat16()`.
        RuntimeError: no such device.
    """

    def __init__(
        self, device_type: str, dtype: Any = None, enabled: bool = True, cache_enabled: bool | None = None
    ) -> None:
        if not isinstance(device_type, str):
            raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
        if device_type not in _DEVICES:
            raise RuntimeError(f"User specified an unsupported autocast device_type '{device_type}'")
        if enabled and device_type == "cpu":
            raise NotImplementedError("autocast: enabled=True is not supported on the CPU; use model.bfloat16()")
        if enabled:
            warnings.warn(f"{device_type} is not available. Disabling autocast.", UserWarning, stacklevel=2)

    def __enter__(self) -> autocast:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __call__(self, func: _F) -> _F:
        @wraps(func)
        def decorated(*args: Any, **kwargs: Any) -> Any:
            return func(*args, **kwargs)

        return decorated  # type: ignore[return-value]


class GradScaler:
    """A scaler of losses that is disabled: losses, gradients and steps pass through it as they are.

    Raises:
        NotImplementedError: enabled for the CPU, where float16 is stored, but not computed in.
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
        if enabled and str(device).startswith("cpu"):
            raise NotImplementedError("GradScaler: enabled=True is not supported on the CPU")
        if enabled:
            warnings.warn(
                f"GradScaler is enabled, but {str(device).upper()} is not available.  Disabling.",
                UserWarning,
                stacklevel=2,
            )

    def scale(self, outputs: Any) -> Any:
        """`outputs` itself."""
        return outputs

    def unscale_(self, optimizer: Any) -> None:
        """Nothing to do."""

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """`optimizer.step`."""
        return optimizer.step(*args, **kwargs)

    def update(self, new_scale: float | _core.Tensor | None = None) -> None:
        """Nothing to do."""

    def get_scale(self) -> float:
        """1."""
        return 1.0

    def is_enabled(self) -> bool:
        """False."""
        return False

    def state_dict(self) -> dict[str, Any]:
        """Empty."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Nothing to take over."""
