"""The layers, one file a subject; `module.py` holds the base class."""

from __future__ import annotations

from unspool.nn.modules import (
    activation,
    attention,
    batchnorm,
    container,
    distance,
    dropout,
    linear,
    loss,
    loss_margin,
    normalization,
    padding,
    parameter_container,
    residual,
    softmax,
    sparse,
    transformer,
)
from unspool.nn.modules.activation import *  # noqa: F403
from unspool.nn.modules.attention import *  # noqa: F403
from unspool.nn.modules.batchnorm import *  # noqa: F403
from unspool.nn.modules.container import *  # noqa: F403
from unspool.nn.modules.distance import *  # noqa: F403
from unspool.nn.modules.dropout import *  # noqa: F403
from unspool.nn.modules.linear import *  # noqa: F403
from unspool.nn.modules.loss import *  # noqa: F403
from unspool.nn.modules.loss_margin import *  # noqa: F403
from unspool.nn.modules.module import Module
from unspool.nn.modules.normalization import *  # noqa: F403
from unspool.nn.modules.padding import *  # noqa: F403
from unspool.nn.modules.parameter_container import *  # noqa: F403
from unspool.nn.modules.residual import *  # noqa: F403
from unspool.nn.modules.softmax import *  # noqa: F403
from unspool.nn.modules.sparse import *  # noqa: F403
from unspool.nn.modules.transformer import *  # noqa: F403

__all__ = ["Module"]
__all__ += activation.__all__
__all__ += attention.__all__
__all__ += transformer.__all__
__all__ += container.__all__
__all__ += distance.__all__
__all__ += linear.__all__
__all__ += loss.__all__
__all__ += loss_margin.__all__
__all__ += batchnorm.__all__
__all__ += dropout.__all__
__all__ += padding.__all__
__all__ += parameter_container.__all__
__all__ += residual.__all__
__all__ += softmax.__all__
__all__ += sparse.__all__
__all__ += normalization.__all__
