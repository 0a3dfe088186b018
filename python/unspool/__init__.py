"""unspool: neural-network training with PyTorch's dialect. `import unspool as torch` runs PyTorch programs.

This file joins the native core (tensors, operations, random stream) with the Python layer. Subpackages load
on first use, so that importing unspool stays cheap. Every public name of the core is a name here, except those
in `_ELSEWHERE`, which belong to a submodule or serve the Python layer alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unspool import _core, _functions
from unspool.__config__ import show as show_config  # noqa: F401
from unspool._tensor_str import set_printoptions as set_printoptions
from unspool.autograd.grad_mode import enable_grad as enable_grad
from unspool.autograd.grad_mode import inference_mode as inference_mode
from unspool.autograd.grad_mode import no_grad as no_grad
from unspool.autograd.grad_mode import set_grad_enabled as set_grad_enabled

if TYPE_CHECKING:
    from unspool import accelerator as accelerator
    from unspool import amp as amp
    from unspool import autograd as autograd
    from unspool import backends as backends
    from unspool import compiler as compiler
    from unspool import cuda as cuda
    from unspool import distributions as distributions
    from unspool import errors as errors
    from unspool import func as func
    from unspool import jit as jit
    from unspool import linalg as linalg
    from unspool import nn as nn
    from unspool import optim as optim
    from unspool import profiler as profiler
    from unspool import random as random
    from unspool import return_types as return_types
    from unspool import serialization as serialization
    from unspool import signal as signal
    from unspool import special as special
    from unspool import testing as testing
    from unspool import train as train
    from unspool import utils as utils
    from unspool import version as version
    from unspool import xpu as xpu
    from unspool._compile import compile as compile
    from unspool._core import *  # noqa: F403
    from unspool._functions import *  # type: ignore[no-redef]  # noqa: F403
    from unspool._profile import profile as profile
    from unspool.amp import GradScaler as GradScaler
    from unspool.amp import autocast as autocast
    from unspool.amp import get_autocast_dtype as get_autocast_dtype
    from unspool.amp import is_autocast_cpu_enabled as is_autocast_cpu_enabled
    from unspool.amp import is_autocast_enabled as is_autocast_enabled
    from unspool.amp import set_autocast_dtype as set_autocast_dtype
    from unspool.amp import set_autocast_enabled as set_autocast_enabled
    from unspool.diagnose import _Callable
    from unspool.func import vmap as vmap
    from unspool.nn._default_init import get_default_init as get_default_init
    from unspool.nn._default_init import set_default_init as set_default_init
    from unspool.serialization import load as load
    from unspool.serialization import save as save
    from unspool.train import Trainer as Trainer

    diagnose: _Callable  # a package, which can be called

_ELSEWHERE = frozenset(
    (
        "Batches",
        "Captured",
        "FrozenFunction",
        "LossLog",
        "ModuleBase",
        "Node",
        "RemovableHandle",
        "adam_step",
        "backward",
        "calculate_fans",
        "calculate_gain",
        "cross_entropy",
        "elu",
        "gather_rows",
        "gelu",
        "grad",
        "hardsigmoid",
        "hardswish",
        "hardtanh",
        "jvp",
        "kaiming_normal_",
        "kaiming_uniform_",
        "leaky_relu",
        "linear",
        "log_sigmoid",
        "mish",
        "mse_loss",
        "one_hot",
        "plan_step",
        "rmsprop_step",
        "sgd_step",
        "silu",
        "slice_rows",
        "softplus",
        "trunc_normal_",
        "xavier_normal_",
        "xavier_uniform_",
        "zero_grad",
    )
)
# PyTorch has these twice; here they are nn.functional's.
_FUNCTIONAL = frozenset(
    (
        "adaptive_avg_pool1d", "alpha_dropout", "avg_pool1d", "bilinear", "celu", "celu_", "channel_shuffle", "conv1d",
        "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "cosine_similarity", "dropout",
        "feature_alpha_dropout", "group_norm", "hardshrink", "layer_norm", "max_pool1d", "max_pool2d", "max_pool3d",
        "pairwise_distance", "pdist", "pixel_shuffle", "pixel_unshuffle", "prelu", "rms_norm", "rrelu", "rrelu_",
        "selu", "selu_", "threshold", "threshold_",
    )
)  # fmt: skip
_SUBMODULES = frozenset(
    (
        "accelerator",
        "amp",
        "autograd",
        "backends",
        "compiler",
        "cuda",
        "diagnose",
        "distributions",
        "errors",
        "func",
        "jit",
        "linalg",
        "nn",
        "optim",
        "profiler",
        "random",
        "return_types",
        "serialization",
        "signal",
        "special",
        "testing",
        "train",
        "utils",
        "version",
        "xpu",
    )
)
# Names of modules that load on first use.
_LAZY = {
    "Trainer": "train",
    "autocast": "amp",
    "get_autocast_dtype": "amp",
    "is_autocast_cpu_enabled": "amp",
    "is_autocast_enabled": "amp",
    "set_autocast_dtype": "amp",
    "set_autocast_enabled": "amp",
    "GradScaler": "amp",
    "compile": "_compile",
    "get_default_init": "nn._default_init",
    "load": "serialization",
    "profile": "_profile",
    "save": "serialization",
    "set_default_init": "nn._default_init",
    "vmap": "func",
}

for _name in dir(_core):
    if not _name.startswith("_") and _name not in _ELSEWHERE:
        globals()[_name] = getattr(_core, _name)
del _name

for _name in _functions.__dict__:  # after the core's names, of which these may replace one
    if not _name.startswith("_") and not isinstance(getattr(_functions, _name), type(_core)):
        globals()[_name] = getattr(_functions, _name)
del _name

# PyTorch's second names for dtypes; they shadow builtins in this file from here on
for _alias, _name in (
    ("float", "float32"),
    ("double", "float64"),
    ("half", "float16"),
    ("int", "int32"),
    ("long", "int64"),
):
    if hasattr(_core, _name):
        globals()[_alias] = getattr(_core, _name)
del _alias, _name

newaxis = None
e = 2.718281828459045
pi = 3.141592653589793
inf = 1e999
nan = inf - inf


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        from importlib import import_module

        return import_module(f"unspool.{name}")
    if name in _FUNCTIONAL:
        from unspool.nn import functional

        return getattr(functional, name)
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(f"unspool.{_LAZY[name]}"), name)
    if name == "__version__":
        version = getattr(_core, "__version__", None)
        if version is None:
            from importlib.metadata import version as installed

            version = installed("unspool")
        globals()["__version__"] = version
        return version
    if name.endswith("_") and name[:-1] in globals() and hasattr(_core.Tensor, name):
        return getattr(_core.Tensor, name)  # PyTorch has exp_(x) beside x.exp_()
    raise AttributeError(f"module 'unspool' has no attribute {name!r}; PyTorch's name may not be supported yet")


def __dir__() -> list[str]:
    return sorted({*globals(), *_SUBMODULES, *_FUNCTIONAL, *_LAZY, "__version__"})
