"""PyTorch's script compiler, as programs call it: nothing is compiled, functions and modules run as they are.

`script` and `trace` return what they are given, so results and gradients are those of the Python code; a traced
module still follows Python's branches. What speeds a step up here is `unspool.compile`. Files of scripts can't be
written or read.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any, Final

from unspool.nn.modules.module import Module as ScriptModule

__all__ = [
    "Final", "ScriptModule", "annotate", "export", "freeze", "ignore", "is_scripting", "is_tracing", "isinstance",
    "load", "optimize_for_inference", "optimized_execution", "save", "script", "script_if_tracing", "script_method",
    "trace", "trace_module", "unused",
]  # fmt: skip


_isinstance = isinstance


def script(obj: Any, *args: Any, **kwargs: Any) -> Any:
    """`obj` itself, a function, class or module."""
    return obj


def script_method(fn: Any) -> Any:
    """`fn` itself."""
    return fn


def script_if_tracing(fn: Any) -> Any:
    """`fn` itself."""
    return fn


def trace(func: Any, example_inputs: Any = None, *args: Any, **kwargs: Any) -> Any:
    """`func` itself, called once with the examples, so that they are checked."""
    if example_inputs is not None:
        func(*example_inputs) if _isinstance(example_inputs, tuple) else func(example_inputs)
    return func


def trace_module(mod: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
    """`mod` itself."""
    return mod


def freeze(mod: Any, *args: Any, **kwargs: Any) -> Any:
    """`mod` itself, which must be in evaluation mode."""
    if mod.training:
        raise RuntimeError(
            "Freezing is currently only implemented for modules in eval mode. Please call .eval() on your module "
            "before freezing."
        )
    return mod


def optimize_for_inference(mod: Any, *args: Any, **kwargs: Any) -> Any:
    """`mod` itself."""
    return mod


def ignore(drop: Any = False, **kwargs: Any) -> Any:
    """A decorator without effect."""
    return drop if callable(drop) else lambda fn: fn


def unused(fn: Any) -> Any:
    """`fn` itself."""
    return fn


def export(fn: Any) -> Any:
    """`fn` itself."""
    return fn


def annotate(the_type: Any, the_value: Any) -> Any:
    """The value."""
    return the_value


def isinstance(obj: Any, target_type: Any) -> bool:
    """Python's isinstance."""
    return _isinstance(obj, target_type)


def is_scripting() -> bool:
    """False."""
    return False


def is_tracing() -> bool:
    """False."""
    return False


@contextmanager
def optimized_execution(should_optimize: bool) -> Any:
    """A scope without effect."""
    yield


def save(m: Any, f: Any, *args: Any, **kwargs: Any) -> None:
    """NotImplementedError: there are no scripts to write."""
    raise NotImplementedError("jit.save: files of scripts are not supported; save a state_dict with unspool.save")


def load(f: Any, *args: Any, **kwargs: Any) -> Any:
    """NotImplementedError: files of scripts can't be read."""
    raise NotImplementedError("jit.load: files of scripts are not supported; load a state_dict with unspool.load")
