"""The layers, one file a subject; `module.py` holds the base class."""

from __future__ import annotations

from unspool.nn.modules import (
    activation,
    adaptive,
    attention,
    batchnorm,
    container,
    conv,
    distance,
    dropout,
    lazy,
    linear,
    loss,
    loss_margin,
    normalization,
    padding,
    parameter_container,
    pooling,
    residual,
    rnn,
    softmax,
    sparse,
    transformer,
    upsampling,
)
from unspool.nn.modules.activation import *  # noqa: F403
from unspool.nn.modules.adaptive import *  # noqa: F403
from unspool.nn.modules.attention import *  # noqa: F403
from unspool.nn.modules.batchnorm import *  # noqa: F403
from unspool.nn.modules.container import *  # noqa: F403
from unspool.nn.modules.conv import *  # noqa: F403
from unspool.nn.modules.distance import *  # noqa: F403
from unspool.nn.modules.dropout import *  # noqa: F403
from unspool.nn.modules.lazy import *  # noqa: F403
from unspool.nn.modules.linear import *  # noqa: F403
from unspool.nn.modules.loss import *  # noqa: F403
from unspool.nn.modules.loss_margin import *  # noqa: F403
from unspool.nn.modules.module import Module as Module
from unspool.nn.modules.normalization import *  # noqa: F403
from unspool.nn.modules.padding import *  # noqa: F403
from unspool.nn.modules.parameter_container import *  # noqa: F403
from unspool.nn.modules.pooling import *  # noqa: F403
from unspool.nn.modules.residual import *  # noqa: F403
from unspool.nn.modules.rnn import *  # noqa: F403
from unspool.nn.modules.softmax import *  # noqa: F403
from unspool.nn.modules.sparse import *  # noqa: F403
from unspool.nn.modules.transformer import *  # noqa: F403
from unspool.nn.modules.upsampling import *  # noqa: F403

# written so that type checkers, which read literal lists alone, don't take the layers' names for private
globals()["__all__"] = ["Module"] + [
    name
    for part in (
        activation, adaptive, attention, transformer, container, conv, distance, lazy, linear, loss, loss_margin,
        batchnorm, dropout, padding, parameter_container, pooling, residual, rnn, softmax, sparse, normalization,
        upsampling,
    )
    for name in part.__all__
]  # fmt: skip
