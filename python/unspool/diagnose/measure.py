"""One forward and one backward pass with hooks: what each linear layer reads, gives, and gets back.

Start at `measure`. The model's own tensors take no part (guard.py), so there is nothing of it to restore but tables.
Which nonlinearity follows which layer is read off the recorded graph (flow.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from unspool import _core
from unspool._tree import flatten
from unspool.diagnose.activations import Activation
from unspool.diagnose.flow import Flow, adds_its_input
from unspool.diagnose.guard import stand_ins
from unspool.diagnose.losses import loss_of, uninformed
from unspool.diagnose.parts import Part, is_linear, linear_maps, passed_over
from unspool.diagnose.statistics import Stats, as_matrix, norm_of, stats_of
from unspool.diagnose.symmetry import twins

__all__ = ["Block", "Layer", "Measures", "measure"]


@dataclass
class Layer:
    """A call of a linear layer, in the order of the calls. Shares are between 0 and 1.

    `z` is the layer's output, the pre-activation; `h` what the next layer reads of it, None where that isn't seen;
    `gradient` that of the loss for z. `weight_target` is gain / fan_in for the nonlinearity that follows.
    `signal_rms` is of z without the bias. `code` is Python for the weight and the bias; `aside` is as in Part. `norm`
    is the path of the normalisation that the nonlinearity reads, None without one. `twins` are groups of units that
    training can't tell apart, `told_apart` the largest norm of a gradient that tells units of equal weights apart,
    `collapses_into` the number of the linear layer that follows without a nonlinearity.
    """

    path: str
    kind: str
    code: tuple[str, str]
    aside: bool
    fan_in: int
    fan_out: int
    activation: Activation
    weight_var: float
    weight_mean: float
    weight_target: float
    weight_norm: float
    weight_gradient_norm: float
    bias_rms: float
    signal_rms: float
    z: Stats
    input: Stats
    h: Stats | None
    gradient: Stats | None
    dead: float
    always_on: float
    saturated: float
    norm: str | None = None
    twins: list[list[int]] = field(default_factory=list)
    told_apart: float = 0.0
    collapses_into: int | None = None

    @property
    def gradient_ratio(self) -> float:
        """‖∂loss/∂W‖ / ‖W‖."""
        return self.weight_gradient_norm / self.weight_norm if self.weight_norm else math.nan


@dataclass(frozen=True)
class Block:
    """A module that adds something to its input, and ln Var before and after."""

    path: str
    ln_var_in: float
    ln_var_out: float


@dataclass
class Measures:
    """All that a pass gives. `loss` is None without one; `uninformed` what it would be for a constant prediction.

    `broken` are the names of parameters and buffers that are not finite, `output` the outputs' Stats, `labels` those of
    y where y is of floating point, `passed_over` the types by path of modules with matrices that aren't looked at,
    `one_output` says that there was but one, and `weights` are the weights, by number,
    of layers that follow one another without a nonlinearity.
    """

    layers: list[Layer]
    blocks: list[Block]
    inputs: list[Stats]
    output: Stats
    labels: Stats | None
    loss: float | None
    loss_name: str
    uninformed: float | None
    dtype: str
    broken: list[str]
    passed_over: dict[str, str]
    one_output: bool = True
    weights: dict[int, Any] = field(repr=False, default_factory=dict)


@dataclass
class _Call:
    path: str
    part: Part
    node: Any
    read: Any
    z: Stats
    input: Stats


def _is_norm(module: Any) -> bool:
    return "Norm" in type(module).__name__ and not module._modules


class _Recorder:
    """The hooks, and what they see. Statistics are taken at once: what comes later may write in place."""

    def __init__(self, model: Any, rank: bool) -> None:
        self.calls: list[_Call] = []
        self.gradients: dict[int, Stats] = {}
        self.norms: dict[Any, tuple[str, Stats]] = {}
        self.modules: dict[Any, Any] = {}
        self.blocks: dict[Any, Block] = {}
        self.inside: list[str] = []
        self._rank = rank
        for path, module in model.named_modules():
            module.register_forward_pre_hook(lambda m, args, path=path: self.inside.append(path), prepend=True)
            module.register_forward_hook(lambda m, args, out, path=path: self._passed(path, m, args, out))

    def _passed(self, path: str, module: Any, args: Any, out: Any) -> None:
        self.inside.pop()
        if not _core.is_tensor(out) or out.grad_fn is None or not args or not _core.is_tensor(args[0]):
            return
        x = args[0]
        if module._modules and not is_linear(module):
            self._maybe_block(path, module, x, out)
            return
        self.modules.setdefault(out.grad_fn, module)
        if _is_norm(module) and out.dim() > 1 and out.numel():
            axis = 1 if "LayerNorm" not in type(module).__name__ else -1
            self.norms[out.grad_fn] = path, stats_of(out, axis)

    def see(self, path: str, part: Part, x: Any, out: Any) -> None:
        """The linear map `part` made `out` of x."""
        if not (_core.is_tensor(x) and _core.is_tensor(out) and x.is_floating_point() and out.dim() and out.numel()):
            return
        if out.grad_fn is None:
            return
        number, gradients = len(self.calls), self.gradients
        read = stats_of(x, part.axis, rank=self._rank)
        if x.grad_fn is None and read.ln_max == -math.inf:  # a recurrent net's first state says nothing
            return
        axis = part.axis
        self.calls.append(_Call(path, part, out.grad_fn, x.grad_fn, stats_of(out, axis), read))
        # holds no node: with one it would be a cycle that keeps the whole graph
        out.register_hook(lambda g: gradients.__setitem__(number, stats_of(g, axis)))

    def _maybe_block(self, path: str, module: Any, x: Any, out: Any) -> None:
        from unspool.nn import Residual

        if x.shape == out.shape and adds_its_input(x, out, isinstance(module, Residual)) and x.numel():
            self.blocks.setdefault(out.grad_fn, Block(path, stats_of(x).ln_var, stats_of(out).ln_var))


def _layers(seen: _Recorder, flow: Flow, gradients: dict[int, Any], noise: Sequence[float]) -> list[Layer]:
    """The calls, each with its weight's numbers and with what follows it."""
    reads: dict[Any, Stats] = {}
    for call in seen.calls:
        if call.read is not None:
            reads.setdefault(flow.source(call.read), call.input)
    layers = []
    for number, call in enumerate(seen.calls):
        activation, node, following = flow.after(call.node)
        norm, met = seen.norms.get(node, (None, call.z))
        bias = call.part.bias
        gradient, bias_gradient = call.part.gradients(gradients)
        w = as_matrix(call.part.matrix)
        weight_mean, weight_norm = float(w.mean()), norm_of(w)
        b = None if bias is None else bias.detach().double().numpy()
        fan_out, fan_in = w.shape
        with np.errstate(invalid="ignore", over="ignore"):
            signal = call.z.unit_mean - (0.0 if b is None else b)
            layer = Layer(
                path=call.path,
                kind=type(call.part.module).__name__,
                code=call.part.code,
                aside=call.part.aside,
                fan_in=fan_in,
                fan_out=fan_out,
                activation=activation,
                weight_var=max(weight_norm**2 / w.size - weight_mean**2, 0.0),
                weight_mean=weight_mean,
                weight_target=activation.gain / fan_in,
                weight_norm=weight_norm,
                weight_gradient_norm=norm_of(gradient),
                bias_rms=0.0 if b is None else math.sqrt(float(np.square(b).mean())),
                signal_rms=math.sqrt(float((call.z.unit_var + np.square(signal)).mean())),
                z=call.z,
                input=call.input,
                h=reads.get(flow.reader_of(node), None if following is None else call.z),
                gradient=seen.gradients.get(number),
                dead=float(np.mean((met.unit_max <= activation.low) | (met.unit_min >= activation.high))),
                always_on=float(np.mean(met.unit_min > 0)) if activation.is_rectifier else 0.0,
                saturated=_saturated(met.sample, activation.near),
                norm=norm,
                collapses_into=_matrix_after(seen.calls, number, following),
            )
        if gradient is not None and fan_out > 1:
            doubt = noise[number] if number < len(noise) else 0.0
            layer.twins, layer.told_apart = twins(w, b, gradient, bias_gradient, doubt)
        layers.append(layer)
    return layers


def _matrix_after(calls: list[_Call], number: int, following: int | None) -> int | None:
    """The layer that follows without a nonlinearity, where both are plain matrices: convolutions make no product."""
    if following is None or any(calls[i].part.weight.dim() != 2 for i in (number, following)):
        return None
    return following


def _saturated(sample: Any, near: tuple[float, float] | None) -> float:
    return 0.0 if near is None else float(np.mean((sample < near[0]) | (sample > near[1])))


def _chained_weights(seen: _Recorder, layers: list[Layer]) -> dict[int, Any]:
    """Of the layers that collapse, by their numbers."""
    pairs = [(i, layer.collapses_into) for i, layer in enumerate(layers) if layer.collapses_into is not None]
    return {i: as_matrix(seen.calls[i].part.matrix) for i in sorted({i for pair in pairs for i in pair})}


def _units_of(x: Any, calls: list[_Call]) -> int:
    """The dim of an input's features: of a picture its channels."""
    axis = calls[0].part.axis
    return axis if x.dim() >= -axis else -1


def _in_dtype(value: Any, dtype: Any) -> Any:
    return value.to(dtype) if dtype is not None and _core.is_tensor(value) and value.is_floating_point() else value


def _broken(model: Any) -> list[str]:
    named = [*model.named_parameters(), *model.named_buffers()]
    return [n for n, t in named if t.is_floating_point() and not bool(_core.isfinite(t).all())]


def measure(
    model: Any,
    inputs: tuple[Any, ...],
    y: Any,
    loss: Any,
    dtype: Any = None,
    rank: bool = True,
    noise: Sequence[float] = (),
) -> Measures:
    """The numbers of one pass through `model` in its present mode, in `dtype` where one is given; `noise` are the
    layers' `told_apart` of a pass in a coarser one.

    Raises:
        RuntimeError: the model failed; the message names the module. The cause is attached.
        ValueError: nothing that the model returned has a gradient, or no linear layer was called.
    """
    with stand_ins(model, dtype):
        seen = _Recorder(model, rank)
        inputs = tuple(_in_dtype(x, dtype) for x in inputs)
        y = _in_dtype(y, dtype)
        try:
            with linear_maps(model, seen.see):
                result = model(*inputs)
        except Exception as error:
            at = seen.inside[-1] if seen.inside else ""
            where = f"{at!r} ({model.get_submodule(at)._get_name()})" if at else f"the model ({model._get_name()})"
            raise RuntimeError(f"diagnose: forward failed in {where}: {error}") from error
        outputs = [t for t in flatten(result) if _core.is_tensor(t) and t.grad_fn is not None]
        if not outputs:
            raise ValueError(f"diagnose: what the model ({model._get_name()}) returned depends on no parameter of it")
        if not seen.calls:
            raise ValueError(f"diagnose: the model ({model._get_name()}) called none of its linear layers")
        value, name = loss_of(result, outputs, y, loss)
        flow = Flow(outputs, {call.node: i for i, call in enumerate(seen.calls)}, seen.modules)
        wanted = {id(p): p for call in seen.calls for p in call.part.module._parameters.values() if p is not None}
        from unspool.autograd import grad

        gradients = dict(zip(wanted, grad(value, list(wanted.values()), allow_unused=True), strict=True))
        layers = _layers(seen, flow, gradients, noise)
        return Measures(
            layers=layers,
            blocks=list(seen.blocks.values()),
            inputs=[stats_of(x, _units_of(x, seen.calls)) for x in inputs if x.is_floating_point()],
            output=stats_of(outputs[0]),
            labels=stats_of(y) if _core.is_tensor(y) and y.is_floating_point() else None,
            loss=None if loss is None and y is None else float(value.detach()),
            loss_name=name,
            uninformed=uninformed(name, result, y),
            dtype=str(outputs[0].dtype).rpartition(".")[2],
            broken=_broken(model),
            passed_over={path: type(module).__name__ for path, module in passed_over(model).items()},
            one_output=len(outputs) == 1,
            weights=_chained_weights(seen, layers),
        )
