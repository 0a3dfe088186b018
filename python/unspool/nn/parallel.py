"""`DataParallel`, of a machine without GPUs: the module itself."""

from __future__ import annotations

from typing import Any

from unspool.nn.modules.module import Module

__all__ = ["DataParallel"]


class DataParallel(Module):
    """Calls `module`, which has the prefix "module." in the state_dict. There are no devices to share a batch."""

    def __init__(self, module: Module, device_ids: Any = None, output_device: Any = None, dim: int = 0) -> None:
        super().__init__()
        self.module = module
        self.device_ids: list[int] = []

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        return self.module(*inputs, **kwargs)
