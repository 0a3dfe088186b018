"""Neural-network building blocks, arranged as in PyTorch: modules, parameters, `functional`, `init`, `utils`."""

from __future__ import annotations

from unspool.nn import functional, init, modules, parameter, utils
from unspool.nn.modules import *  # noqa: F403
from unspool.nn.parameter import Buffer, Parameter

__all__ = ["Buffer", "Parameter", "functional", "init", "modules", "parameter", "utils"]
__all__ += modules.__all__
