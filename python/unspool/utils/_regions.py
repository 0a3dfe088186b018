"""The non-reentrant checkpoint: a piece of the graph that is dropped after forward and recorded again in backward.

PyTorch puts holders in the place of what operations save. Here the function is recorded as ever; then its results are
made results of one call instead (`Region`), and what only its own nodes held is freed. The call's inputs are the edges
that lead out of the piece, one input a *use*: backward returns every contribution on its own, in the order in which
the uncut graph would have sent them, so that sums are rounded in the same order and gradients keep their bits.
Start reading at `run`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any

from unspool import _core
from unspool._tree import flatten
from unspool.autograd.grad_mode import enable_grad
from unspool.random import fork_rng
from unspool.utils._captured import tensors_before

__all__ = ["CheckpointError", "Region", "run"]

CANARY = "_reentrant_checkpoint"  # an attribute of the leaf by which a reentrant checkpoint tells sweeps apart


class CheckpointError(RuntimeError):
    """The function did something else in backward than it had done in forward."""


def run(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    preserve_rng_state: bool,
    contexts: tuple[AbstractContextManager[Any], AbstractContextManager[Any]],
    check: bool,
) -> Any:
    """function(*args, **kwargs), whose part of the graph is dropped and will be recorded again."""
    if not _core.is_grad_enabled():
        return function(*args, **kwargs)
    before = Boundary(tensors_before(function, args, kwargs))
    region = Region(function, args, kwargs, preserve_rng_state, contexts[1], check)
    done = False
    with contexts[0]:
        result = function(*args, **kwargs)
        done = True
    if not done:
        raise RuntimeError(
            "checkpoint: the first context manager of context_fn has suppressed an exception of the function, so there "
            "is no result to return"
        )
    outputs = _made_inside(result, before)
    if outputs:
        region.close(outputs, before)
    return result


class Boundary:
    """Where a piece of the graph ends: at tensors that were there before it, and at every leaf."""

    def __init__(self, tensors: Iterable[Any]) -> None:
        self.tensors: list[Any] = []
        self.uses: list[int] = []
        self._numbers: dict[Any, int] = {}
        self._results: dict[Any, Any] = {}
        for t in tensors:
            self.add(t)

    def add(self, t: Any) -> None:
        """Counts as outside from now on, and with it the tensor whose memory it shows."""
        for one in (t, t._base):
            if one is not None and one.grad_fn is not None:
                self._results[one.grad_fn, one.output_nr] = one

    def holds(self, t: Any) -> bool:
        return t.grad_fn is None or (t.grad_fn, t.output_nr) in self._results

    def number(self, t: Any) -> int:
        """The place of `t` in `tensors`, where it is put if it is not there yet."""
        key = id(t) if t.grad_fn is None else (t.grad_fn, t.output_nr)
        if key not in self._numbers:
            self._numbers[key] = len(self.tensors)
            self.tensors.append(_alias(t))
            self.uses.append(0)
        return self._numbers[key]

    def _end_of(self, node: Any, output: int) -> Any:
        """The tensor outside that an edge leads to; None where the edge leads to a node inside."""
        leaf = node.variable
        if leaf is None:
            return self._results.get((node, output))
        if hasattr(leaf, CANARY):
            raise NotImplementedError(
                "checkpoint: a checkpoint with use_reentrant=True inside of one with use_reentrant=False is not "
                "supported; pass use_reentrant=False to the inner one, too"
            )
        return leaf

    def crossings(self, outputs: list[Any]) -> list[tuple[Any, dict[int, int]]]:
        """The nodes inside that have an edge out: for each, its inputs' numbers in `tensors`. Counts the uses."""
        found = []
        stack = [y.grad_fn for y in outputs]
        seen = set(stack)
        while stack:
            node = stack.pop()
            places = {}
            for i, (up, output) in enumerate(node.next_functions):
                if up is None:
                    continue
                end = self._end_of(up, output)
                if end is not None:
                    places[i] = self.number(end)
                    self.uses[places[i]] += 1
                elif up not in seen:
                    seen.add(up)
                    stack.append(up)
            if places:
                found.append((node, places))
        return found


def _alias(t: Any) -> Any:
    """The tensor as it is now: a later write in place would else make it a result of the region it is kept by."""
    if t.grad_fn is not None:
        return _core._with_history(t, t.grad_fn, t.output_nr)
    return t if t.requires_grad or type(t) is not _core.Tensor else t.detach()


def _made_inside(result: Any, before: Boundary) -> list[Any]:
    """The tensors in `result` whose history is the function's own, each once; before a view the tensor it shows, which
    would keep that history."""
    found: dict[int, Any] = {}
    for y in flatten(result):
        if not isinstance(y, _core.Tensor) or before.holds(y):
            continue
        base = y._base
        if base is not None and before.holds(base):
            continue  # a view of a tensor from outside holds no memory of its own, and stays its view
        if base is not None:
            found.setdefault(id(base), base)
        found.setdefault(id(y), y)
    return list(found.values())


class Region:
    """The context of the one call, as `_core._record_function` wants it: `_name`, `_run_backward`, `_free`."""

    _name = "CheckpointBackward"

    def __init__(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        preserve_rng_state: bool,
        context: AbstractContextManager[Any],
        check: bool,
    ) -> None:
        self._call: Any = (
            function,
            [_alias(a) if isinstance(a, _core.Tensor) else a for a in args],
            {name: _alias(a) if isinstance(a, _core.Tensor) else a for name, a in kwargs.items()},
        )
        self._versions = [a._version if isinstance(a, _core.Tensor) else 0 for a in args]
        self._rng_state = _core.get_rng_state() if preserve_rng_state else None
        self._context = context
        self._check = check
        self._tensors: list[Any] = []
        self._uses: list[int] = []
        self._outputs: list[Any] = []

    def close(self, outputs: list[Any], before: Boundary) -> None:
        """Makes `outputs` results of this call, which lets go of their own history."""
        before.crossings(outputs)
        self._tensors, self._uses = before.tensors, before.uses
        self._outputs = [(y.shape, y.dtype) for y in outputs]
        slots = [t for t, n in zip(self._tensors, self._uses, strict=True) for _ in range(n)]
        _core._record_function(self, slots, outputs)

    def _free(self) -> None:
        self._call = self._rng_state = None
        self._tensors = []

    def _run_backward(self, node: Any, grads: tuple[Any, ...]) -> tuple[Any, ...]:
        """The contributions to each use of each tensor from outside, None for uses that got none."""
        create_graph = _core.is_grad_enabled()
        if self._call is None:
            raise RuntimeError(
                "checkpoint: Trying to backward through the graph a second time, but what the checkpoint kept was "
                "freed by the first. Pass retain_graph=True to the first backward to keep it"
            )
        boundary = Boundary(tensors_before(*self._call, self._tensors))
        for t in self._tensors:  # the same numbers as in forward
            boundary.number(t)
        marker, passed = _marker(self._tensors)
        outputs = self._compute_again(boundary)
        crossings = boundary.crossings(outputs)
        self._compare(boundary)

        found: list[list[Any]] = [[] for _ in self._tensors]
        watches = [n.register_hook(_Watch(n.name(), places, found, passed)) for n, places in crossings]
        try:
            roots = [(y, g) for y, g in zip(outputs, grads, strict=True) if g is not None]
            _core.backward([y for y, _ in roots] + [marker], [g for _, g in roots] + [None], create_graph, create_graph)
        finally:
            for watch in watches:
                watch.remove()
        return tuple(g for got, uses in zip(found, self._uses, strict=True) for g in _fitted(got, uses))

    def _compute_again(self, boundary: Boundary) -> list[Any]:
        function, args, kwargs = self._call
        for i, (a, version) in enumerate(zip(args, self._versions, strict=True)):
            if isinstance(a, _core.Tensor) and a._version != version:
                raise RuntimeError(
                    "checkpoint: one of the variables needed for gradient computation has been modified by an inplace "
                    f"operation: argument {i} of shape {tuple(a.shape)}, given at version {version}, is at version "
                    f"{a._version}, so the function cannot run on it again. Write to a clone()"
                )
        done = False
        with fork_rng(enabled=self._rng_state is not None), enable_grad(), self._context:
            if self._rng_state is not None:
                _core.set_rng_state(self._rng_state)
            result = function(*args, **kwargs)
            done = True
        if not done:
            raise RuntimeError(
                "checkpoint: the second context manager of context_fn has suppressed an exception of the function"
            )
        outputs = _made_inside(result, boundary)
        made = [(y.shape, y.dtype) for y in outputs]
        if len(made) != len(self._outputs) or (self._check and made != self._outputs):
            raise CheckpointError(
                "checkpoint: the function returned other tensors when it ran again for backward: "
                f"{_described(made)}, where forward had {_described(self._outputs)}"
            )
        return outputs

    def _compare(self, boundary: Boundary) -> None:
        if len(boundary.tensors) != len(self._tensors):
            new = boundary.tensors[len(self._tensors)]
            raise CheckpointError(
                "checkpoint: when it ran again for backward, the function used a tensor that requires grad and that it "
                f"had not used in forward; its shape is {tuple(new.shape)}"
            )
        for t, n, was in zip(self._tensors, boundary.uses, self._uses, strict=True):
            if self._check and n != was:
                raise CheckpointError(
                    f"checkpoint: when it ran again for backward, the function used a tensor of shape {tuple(t.shape)} "
                    f"{n} times, where forward had used it {was} times"
                )


class _Marker:
    """A call that is recorded when the function starts to run again, and so visited when its nodes all have been."""

    _name = "CheckpointMarker"

    def __init__(self, inputs: int) -> None:
        self.visited = False
        self._inputs = inputs

    def _run_backward(self, node: Any, grads: tuple[Any, ...]) -> tuple[Any, ...]:
        self.visited = True
        return (None,) * self._inputs

    def _free(self) -> None:
        pass  # it keeps nothing


def _marker(tensors: list[Any]) -> tuple[Any, _Marker]:
    # Its inputs put it after what they are results of, in whichever thread that was recorded.
    y, context = _core.zeros(()), _Marker(len(tensors))
    with enable_grad():
        _core._record_function(context, tensors, [y])
    return y, context


class _Watch:
    """A hook of a node with edges out: takes what goes along them, and sends nothing on."""

    def __init__(self, name: str, places: dict[int, int], found: list[list[Any]], marker: _Marker) -> None:
        self._name = name
        self._places = places
        self._found = found
        self._marker = marker

    def __call__(self, grad_inputs: tuple[Any, ...], grad_outputs: tuple[Any, ...]) -> tuple[Any, ...]:
        if self._marker.visited:
            raise NotImplementedError(
                f"checkpoint: the function uses a result of operations recorded before it ({self._name} among them) "
                "that is neither an argument nor found in its closure, globals or attributes; pass it as an argument"
            )
        for i, number in self._places.items():
            if grad_inputs[i] is not None:
                self._found[number].append(grad_inputs[i])
        return tuple(None if i in self._places else g for i, g in enumerate(grad_inputs))


def _fitted(got: list[Any], uses: int) -> list[Any]:
    """As many contributions as forward counted; more of them (where nobody checks) are added up."""
    while len(got) > uses:
        last = got.pop()
        got[-1] = got[-1] + last
    return got + [None] * (uses - len(got))


def _described(outputs: list[Any]) -> str:
    return ", ".join(f"{dtype} of shape {tuple(shape)}" for shape, dtype in outputs) or "none that requires grad"
