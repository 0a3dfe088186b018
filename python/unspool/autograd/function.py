"""`Function`: an operation whose forward and backward are written in Python."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from unspool import _core
from unspool.autograd.grad_mode import no_grad

__all__ = ["Function", "FunctionCtx", "once_differentiable"]


class FunctionCtx:
    """What forward leaves for backward. One is made for each call."""

    def __init__(self, name: str, backward: Callable[..., Any]) -> None:
        self._name = name
        self._backward = backward
        self._to_save: tuple[Any, ...] = ()
        self._saved: list[tuple[Any, int, int]] | None = None
        self._dirty: tuple[Any, ...] = ()
        self._non_differentiable: tuple[Any, ...] = ()
        self._materialize = True
        self._node: Any = None
        self.needs_input_grad: tuple[bool, ...] = ()

    def save_for_backward(self, *tensors: Any) -> None:
        """Keep inputs, outputs or other tensors for backward; `saved_tensors` gives them back."""
        for i, t in enumerate(tensors):
            if t is not None and not isinstance(t, _core.Tensor):
                raise TypeError(
                    f"save_for_backward: can only save Tensors or None, but argument {i} is {type(t).__name__}"
                )
        self._to_save = tensors

    def mark_dirty(self, *args: Any) -> None:
        """Tell that forward wrote into these inputs."""
        self._dirty = args

    def mark_non_differentiable(self, *args: Any) -> None:
        """Tell that no gradient goes through these outputs."""
        self._non_differentiable = args

    def set_materialize_grads(self, value: bool) -> None:
        """Whether backward gets zeros (True, the default) or None for outputs without a gradient."""
        self._materialize = value

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """What `save_for_backward` kept.

        Raises:
            RuntimeError: backward has freed it, or it was written in place since.
        """
        if self._saved is None:
            raise RuntimeError(
                f"{self._name}: Trying to backward through the graph a second time (or directly access saved tensors "
                "after they have already been freed). Specify retain_graph=True for the first backward"
            )
        found = []
        for t, version, output in self._saved:
            if t is not None and t._version != version:
                raise RuntimeError(
                    f"{self._name}: one of the variables needed for gradient computation has "
                    f"been modified by an inplace "
                    f"operation: a tensor of shape {tuple(t.shape)} saved at version {version} "
                    f"is at version {t._version}"
                )
            if output >= 0 and self._node is not None and _core.is_grad_enabled():
                t = _core._with_history(t, self._node, output)
            found.append(t)
        return tuple(found)

    def _keep(self, outputs: list[Any]) -> None:
        """Outputs are kept without their history, which would hold this context: a cycle."""
        number = {id(t): i for i, t in enumerate(outputs) if t is not None}
        self._saved = []
        for t in self._to_save:
            output = -1 if t is None else number.get(id(t), -1)
            kept = t.detach() if output >= 0 else t
            self._saved.append((kept, 0 if t is None else t._version, output))
        self._to_save = ()

    def _free(self) -> None:
        self._saved = None

    def _run_backward(self, node: Any, grads: tuple[Any, ...]) -> tuple[Any, ...]:
        """The gradients of the Tensor inputs, checked."""
        if self._materialize:
            grads = tuple(
                _core.zeros(shape, dtype=dtype) if g is None and dtype.is_floating_point else g
                for g, (shape, dtype) in zip(grads, self._outputs, strict=True)
            )
        self._node = node
        try:
            got = self._backward(self, *grads)
        finally:
            self._node = None
        got = got if isinstance(got, tuple) else (got,)
        n = len(self.needs_input_grad)
        if len(got) < n or any(g is not None for g in got[n:]):
            raise RuntimeError(
                f"function {self._name} returned an incorrect number of gradients (expected {n}, got {len(got)})"
            )
        found = []
        for i, (g, place) in enumerate(zip(got, self._inputs, strict=False)):
            if place is None:
                if g is not None:
                    raise RuntimeError(
                        f"function {self._name} returned a gradient different than None at position {i}, "
                        f"but the corresponding forward input was not a Tensor"
                    )
                continue
            if g is not None and not isinstance(g, _core.Tensor):
                raise TypeError(
                    f"function {self._name} returned {type(g).__name__} at position {i}; expected a Tensor or None"
                )
            found.append(_fitted(self._name, i, g, place) if g is not None and self.needs_input_grad[i] else None)
        return tuple(found)

    _outputs: tuple[Any, ...] = ()
    _inputs: tuple[Any, ...] = ()


def _fitted(name: str, i: int, g: Any, place: tuple[Any, Any]) -> Any:
    shape, _ = place
    if g.shape == shape:
        return g
    try:
        return g.sum_to_size(shape)
    except RuntimeError:
        raise RuntimeError(
            f"Function {name} returned an invalid gradient at index {i} - got {list(g.shape)} but expected shape "
            f"compatible with {list(shape)}"
        ) from None


class Function:
    """Base class of operations written in Python: define static methods `forward(ctx, *args)` and
    `backward(ctx, *grad_outputs)`, or `forward(*args)`, `setup_context(ctx, inputs, output)` and `backward`; call
    `apply(*args)`.

    Raises:
        RuntimeError: backward returns the wrong number of gradients, or one of another shape.
        NotImplementedError: backward is not defined.
    """

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """Compute the result; the first argument is the context unless setup_context is defined."""
        raise NotImplementedError("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> Any:
        """Keep in `ctx` what backward needs."""
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """The gradient of each input, None where there is none."""
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom autograd.Function."
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError(
            f"{type(self).__name__}: autograd functions have static methods; call {type(self).__name__}.apply"
        )

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Run forward, and record the call where an input requires grad."""
        ctx = FunctionCtx(f"{cls.__name__}Backward", getattr(cls, "vjp", cls.backward))
        ctx.needs_input_grad = tuple(isinstance(a, _core.Tensor) and a.requires_grad for a in args)
        with no_grad():
            if cls.setup_context is not Function.setup_context:
                result = cls.forward(*args, **kwargs)
                cls.setup_context(ctx, args, result)
            else:
                result = cls.forward(ctx, *args, **kwargs)
        if not _core.is_grad_enabled() or not any(ctx.needs_input_grad):
            return result
        for t in ctx._dirty:
            if not any(t is a for a in args):
                raise RuntimeError(
                    f"{ctx._name}: mark_dirty is for inputs that were modified in place; got another tensor"
                )
            if t.requires_grad and t.is_leaf:
                raise RuntimeError(
                    f"{ctx._name}: a leaf Variable that requires grad has been used in an in-place operation"
                )
        several = isinstance(result, (tuple, list))
        outputs = [_own(ctx, args, y) for y in (result if several else [result])]
        inputs = [a for a in args if isinstance(a, _core.Tensor)]
        ctx._inputs = tuple((a.shape, a.dtype) if isinstance(a, _core.Tensor) else None for a in args)
        ctx._outputs = tuple((y.shape, y.dtype) if isinstance(y, _core.Tensor) else (None, _core.bool) for y in outputs)
        before = result if several else [result]
        swapped = {id(a): b for a, b in zip(before, outputs, strict=True)}
        ctx._to_save = tuple(swapped.get(id(t), t) for t in ctx._to_save)
        slots = [y if _records(ctx, y) else None for y in outputs]
        ctx._keep(slots)
        _core._record_function(ctx, inputs, slots)
        return (tuple(outputs) if isinstance(result, tuple) else outputs) if several else outputs[0]


def _own(ctx: FunctionCtx, args: tuple[Any, ...], y: Any) -> Any:
    """The result as a tensor of its own: an input that comes back unchanged, or a view of one, becomes another
    handle."""
    if not isinstance(y, _core.Tensor) or any(y is d for d in ctx._dirty):
        return y
    if any(y is a for a in args) or y._base is not None or y.requires_grad:
        return y.detach()
    return y


def _records(ctx: FunctionCtx, y: Any) -> bool:
    return (
        isinstance(y, _core.Tensor) and y.dtype.is_floating_point and not any(y is t for t in ctx._non_differentiable)
    )


def once_differentiable(fn: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator for backward: its results have no gradient of their own."""

    @wraps(fn)
    def wrapper(ctx: Any, *args: Any) -> Any:
        with no_grad():
            got = fn(ctx, *args)
        if not _core.is_grad_enabled() or not any(isinstance(a, _core.Tensor) and a.requires_grad for a in args):
            return got
        several = got if isinstance(got, tuple) else (got,)
        refused = tuple(
            _Refusal.apply(*[a for a in args if a is not None], g) if g is not None else None for g in several
        )
        return refused if isinstance(got, tuple) else refused[0]

    return wrapper


class _Refusal(Function):
    """The last argument, as a result of the others whose gradient is an error."""

    @staticmethod
    def forward(ctx: Any, *args: Any) -> Any:
        return args[-1].clone()

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise RuntimeError(
            "once_differentiable: trying to differentiate twice a function that was marked with @once_differentiable"
        )
