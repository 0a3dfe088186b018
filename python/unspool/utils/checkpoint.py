"""Checkpoints: what a function saves for backward is dropped, and computed again when backward needs it.

`checkpoint` and `checkpoint_sequential`, in PyTorch's two variants. The reentrant one stands here, over
`autograd.Function`; the other one is in `_regions.py`. What the two leave to the program, and where they differ from
PyTorch's, is in docs/semantics.md.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from unspool import _core, autograd
from unspool.autograd.grad_mode import enable_grad, no_grad
from unspool.random import fork_rng
from unspool.utils import _regions
from unspool.utils._regions import CheckpointError

__all__ = [
    "CheckpointError",
    "checkpoint",
    "checkpoint_sequential",
    "noop_context_fn",
    "set_checkpoint_early_stop",
]

_Contexts = tuple[AbstractContextManager[Any], AbstractContextManager[Any]]


def noop_context_fn() -> _Contexts:
    """The default of `checkpoint`'s `context_fn`: two context managers that do nothing."""
    return nullcontext(), nullcontext()


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    context_fn: Callable[[], _Contexts] = noop_context_fn,
    determinism_check: str = "default",
    debug: bool = False,
    early_stop: bool = False,
    preserve_rng_state: bool = True,
    **kwargs: Any,
) -> Any:
    """function(*args, **kwargs), whose intermediate results are computed again in backward instead of kept (the idea:
    Chen et al., Training Deep Nets with Sublinear Memory Cost, 2016).

    With `use_reentrant=False` gradients have the bits that they have without the checkpoint, `autograd.grad`,
    `backward(inputs=)` and second derivatives work, and tensors may come in any container. The reentrant variant
    (`True`, the default with a warning, as in PyTorch) runs `function` under `no_grad` and differentiates by the
    tensors among `args` alone; parameters get their gradients when `backward` runs the function again.

    The default random stream starts for the second run where it stood at the first, and is put back after it, unless
    `preserve_rng_state` is False. `context_fn` gives a context manager for each of the two runs. The second run is
    compared with the first by shapes and dtypes of the results and by how often they use each tensor that was made
    outside; `determinism_check="none"` leaves that out.

    Returns:
        What `function` returns.

    Raises:
        TypeError: `use_reentrant` is no bool.
        ValueError: keyword arguments or `context_fn` with the reentrant variant, or an unknown `determinism_check`.
        NotImplementedError: `debug` or `early_stop` is set.
        CheckpointError: in backward, the second run differs from the first.
        RuntimeError: in backward, an argument was written since; or `autograd.grad` meets the reentrant variant.
    """
    if use_reentrant is None:
        warnings.warn(
            "checkpoint: pass use_reentrant; without it, it is True here, and newer PyTorch refuses the call. False is "
            "the better choice",
            stacklevel=2,
        )
        use_reentrant = True
    if not isinstance(use_reentrant, bool):
        raise TypeError(
            f"checkpoint: use_reentrant must be a bool, got {use_reentrant!r} ({type(use_reentrant).__name__})"
        )
    _refuse_early_stop("checkpoint", early_stop)
    if use_reentrant:
        if kwargs:
            raise ValueError(f"checkpoint: unexpected keyword arguments with use_reentrant=True: {', '.join(kwargs)}")
        if context_fn is not noop_context_fn or debug is not False:
            raise ValueError("checkpoint: context_fn and debug are for use_reentrant=False only")
        return _reentrant(function, preserve_rng_state, args)
    if debug:
        raise NotImplementedError("checkpoint: debug=True is not supported; CheckpointError names what differs")
    if determinism_check not in ("default", "none"):
        raise ValueError(f"checkpoint: determinism_check must be 'default' or 'none', got {determinism_check!r}")
    return _regions.run(function, args, kwargs, preserve_rng_state, context_fn(), determinism_check == "default")


def checkpoint_sequential(
    functions: Any, segments: int, input: Any, use_reentrant: bool | None = None, **kwargs: Any
) -> Any:
    """The functions one after the other, in `segments` pieces of equal length, all but the last a `checkpoint`.

    Args:
        functions: a `Sequential`, or a list of modules and functions of one argument.
        segments: how many pieces; what doesn't divide evenly goes to the last one.
        input: what the first function takes.
        use_reentrant: as in `checkpoint`; so is `preserve_rng_state`, the only other keyword.

    Returns:
        What the last function returns.

    Raises:
        ValueError: another keyword, or `segments` is not between 1 and the number of functions.
    """
    if use_reentrant is None:
        warnings.warn(
            "checkpoint_sequential: pass use_reentrant; without it, it is True here, and newer PyTorch refuses the "
            "call. False is the better choice",
            stacklevel=2,
        )
        use_reentrant = True
    preserve = kwargs.pop("preserve_rng_state", True)
    if kwargs:
        raise ValueError(f"checkpoint_sequential: unexpected keyword arguments: {', '.join(kwargs)}")
    functions = list(functions)
    if not 1 <= segments <= len(functions):
        raise ValueError(
            f"checkpoint_sequential: segments must be between 1 and the number of functions, {len(functions)}; "
            f"got {segments}"
        )
    length = len(functions) // segments
    for start in range(0, length * (segments - 1), length):
        piece = _Chain(functions[start : start + length])
        input = checkpoint(piece, input, use_reentrant=use_reentrant, preserve_rng_state=preserve)
    return _Chain(functions[length * (segments - 1) :])(input)


class _Chain:
    def __init__(self, functions: Sequence[Callable[[Any], Any]]) -> None:
        self.functions = functions

    def __call__(self, x: Any) -> Any:
        for f in self.functions:
            x = f(x)
        return x


@contextmanager
def set_checkpoint_early_stop(enable: bool) -> Iterator[None]:
    """A scope that asks for whole second runs, which they always are here.

    Raises:
        NotImplementedError: `enable` is true. PyTorch then stops a second run at the last result that backward needs.
    """
    _refuse_early_stop("set_checkpoint_early_stop", enable)
    yield


def _refuse_early_stop(op: str, value: bool) -> None:
    if value:
        raise NotImplementedError(f"{op}: early stop is not supported; the function always runs to its end again")


def _reentrant(function: Callable[..., Any], preserve_rng_state: bool, args: tuple[Any, ...]) -> Any:
    if not any(isinstance(a, _core.Tensor) and a.requires_grad for a in args):
        warnings.warn(
            "checkpoint: none of the arguments is a tensor that requires grad, so there will be no gradients",
            stacklevel=3,
        )
        with no_grad():
            return function(*args)
    # A leaf that tells sweeps apart: it gets its gradient just before the function's node is visited, but where the
    # sweep is for given tensors only.
    canary = _core.zeros((), requires_grad=True)
    setattr(canary, _regions.CANARY, True)
    result = _Reentrant.apply(function, preserve_rng_state, canary, *args)
    several = isinstance(result, (tuple, list))
    shown = CheckpointFunction.apply(canary, *(result if several else (result,)))
    return shown if several else shown[0]


class _Reentrant(autograd.Function):
    """Forward under `no_grad`; backward runs the function again, and a backward inside of it."""

    @staticmethod
    def forward(ctx: Any, function: Any, preserve_rng_state: bool, canary: Any, *args: Any) -> Any:
        ctx.function = function
        ctx.canary = canary
        ctx.rng_state = _core.get_rng_state() if preserve_rng_state else None
        ctx.others = [None if isinstance(a, _core.Tensor) else a for a in args]
        ctx.save_for_backward(*(a if isinstance(a, _core.Tensor) else None for a in args))
        return function(*args)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        if ctx.canary.grad is None:
            raise RuntimeError(
                "checkpoint: with use_reentrant=True neither autograd.grad nor backward(inputs=) can go through a "
                "checkpoint; pass use_reentrant=False, or call backward() without inputs"
            )
        ctx.canary.grad = None
        args = [a if t is None else _cut(t) for a, t in zip(ctx.others, ctx.saved_tensors, strict=True)]
        with fork_rng(enabled=ctx.rng_state is not None), enable_grad():
            if ctx.rng_state is not None:
                _core.set_rng_state(ctx.rng_state)
            result = ctx.function(*args)
        outputs = result if isinstance(result, (tuple, list)) else (result,)
        roots = [(y, g) for y, g in zip(outputs, grads, strict=True) if isinstance(y, _core.Tensor) and y.requires_grad]
        if not roots:
            raise RuntimeError(
                "checkpoint: none of the results requires grad when the function runs again, so there is nothing to "
                "checkpoint"
            )
        autograd.backward([y for y, _ in roots], [g for _, g in roots])
        return (None, None, None, *(a.grad if isinstance(a, _core.Tensor) else None for a in args))


def _cut(t: Any) -> Any:
    x = t.detach()
    return x.requires_grad_() if t.requires_grad else x


class CheckpointFunction(autograd.Function):
    """What a program sees in `grad_fn`: hands the results on, and in backward tells the canary first."""

    @staticmethod
    def forward(ctx: Any, canary: Any, *results: Any) -> Any:
        return results

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return (_core.zeros(()), *grads)
