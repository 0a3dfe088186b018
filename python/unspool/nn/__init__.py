"""Neural-network building blocks, arranged as in PyTorch: modules, parameters, `functional`, `init`, `utils`."""

from __future__ import annotations

from unspool.nn import functional as functional
from unspool.nn import init as init
from unspool.nn import modules as modules
from unspool.nn import parallel as parallel
from unspool.nn import parameter as parameter
from unspool.nn import utils as utils
from unspool.nn.modules import *  # noqa: F403
from unspool.nn.parallel import DataParallel as DataParallel
from unspool.nn.parameter import Buffer as Buffer
from unspool.nn.parameter import Parameter as Parameter

# written so that type checkers, which read literal lists alone, don't take the layers' names for private
globals()["__all__"] = [
    "Buffer",
    "DataParallel",
    "Parameter",
    "functional",
    "init",
    "modules",
    "parallel",
    "parameter",
    "utils",
    *vars(modules)["__all__"],
]
