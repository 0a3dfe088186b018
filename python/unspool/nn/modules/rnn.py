"""Recurrent layers, a loop over the steps: `RNN`, `LSTM`, `GRU`, and their cells."""

from __future__ import annotations

import warnings
from math import sqrt
from typing import Any

from unspool import _core
from unspool.nn import functional, init
from unspool.nn._packed import PackedSequence
from unspool.nn.modules.module import Module
from unspool.nn.parameter import Parameter

__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNBase", "RNNCell", "RNNCellBase"]

_linear = _core.linear
# How many gates a step has: its weights are that many matrices, one above the other.
_GATES = {"RNN_TANH": 1, "RNN_RELU": 1, "GRU": 3, "LSTM": 4}


# One step each: `seen`, what the input adds to the gates; the state, a tuple of tensors; what maps it to the gates.
def _tanh_step(seen: Any, state: Any, recur: Any, project: Any) -> Any:
    return ((seen + _linear(state[0], *recur)).tanh(),)


def _relu_step(seen: Any, state: Any, recur: Any, project: Any) -> Any:
    return ((seen + _linear(state[0], *recur)).relu(),)


def _gru_step(seen: Any, state: Any, recur: Any, project: Any) -> Any:
    """r, z = σ(…); n = tanh(W x + r·(U h + b)); h ← (1-z)·n + z·h. (Cho et al., 2014)"""
    (h,) = state
    reset, update, new = seen.chunk(3, -1)
    reset_h, update_h, new_h = _linear(h, *recur).chunk(3, -1)
    n = (new + (reset + reset_h).sigmoid() * new_h).tanh()
    return ((h - n) * (update + update_h).sigmoid() + n,)


def _lstm_step(seen: Any, state: Any, recur: Any, project: Any) -> Any:
    """c ← σ(f)·c + σ(i)·tanh(g); h = σ(o)·tanh(c), mapped where there is a projection. (Hochreiter et al., 1997)"""
    h, c = state
    i, f, g, o = (seen + _linear(h, *recur)).chunk(4, -1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    h = o.sigmoid() * c.tanh()
    return (h if project is None else _linear(h, project)), c


_STEPS = {"RNN_TANH": _tanh_step, "RNN_RELU": _relu_step, "GRU": _gru_step, "LSTM": _lstm_step}


def _resized(state: Any, start: Any, rows: int, ended: list[Any]) -> Any:
    """The state for `rows` sequences: those that end are kept in `ended`, those that begin have their start."""
    now = state[0].shape[0]
    if rows < now:
        ended.append(tuple(s[rows:] for s in state))
        return tuple(s[:rows] for s in state)
    if rows > now:
        return tuple(_core.cat([s, s0[now:rows]]) for s, s0 in zip(state, start, strict=True))
    return state


class RNNBase(Module):
    """What `RNN`, `LSTM` and `GRU` share; `mode` names the step."""

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        op = type(self).__name__
        if mode not in _GATES:
            raise ValueError(f"{op}: Unrecognized RNN mode: {mode}")
        if isinstance(dropout, bool) or not 0 <= dropout <= 1:
            raise ValueError(f"{op}: dropout should be a number in range [0, 1], got {dropout!r}")
        for name, flag in (("bias", bias), ("batch_first", batch_first)):
            if not isinstance(flag, bool):
                raise TypeError(f"{op}: {name} should be of type bool, got: {type(flag).__name__}")
        for name, size in (("input_size", input_size), ("hidden_size", hidden_size), ("num_layers", num_layers)):
            if not isinstance(size, int):
                raise TypeError(f"{op}: {name} should be of type int, got: {type(size).__name__}")
            if size <= 0:
                raise ValueError(f"{op}: {name} must be greater than zero, got {size}")
        if not 0 <= proj_size < hidden_size:
            raise ValueError(f"{op}: proj_size must be at least 0 and below hidden_size, got {proj_size}")
        if dropout > 0 and num_layers == 1:
            warnings.warn(
                "dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects "
                f"num_layers greater than 1, but got dropout={dropout} and num_layers={num_layers}",
                stacklevel=3,
            )
        self.mode = mode
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.bidirectional = bias, batch_first, bidirectional
        self.dropout, self.proj_size = float(dropout), proj_size
        self._weight_names: list[list[str]] = []
        rows, out = _GATES[mode] * hidden_size, proj_size or hidden_size
        for layer in range(num_layers):
            reads = out * (1 + bidirectional) if layer else input_size
            for end in ("", "_reverse")[: 1 + bidirectional]:
                shapes: dict[str, tuple[int, ...]] = {"weight_ih": (rows, reads), "weight_hh": (rows, out)}
                if bias:
                    shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
                if proj_size:
                    shapes["weight_hr"] = (proj_size, hidden_size)
                names = [f"{name}_l{layer}{end}" for name in shapes]
                for name, shape in zip(names, shapes.values(), strict=True):
                    setattr(self, name, Parameter(_core.empty(shape, device=device, dtype=dtype)))
                self._weight_names.append(names)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all from U(±1/√hidden_size), in the order of PyTorch's stream."""
        bound = 1 / sqrt(self.hidden_size)
        for p in self.parameters():
            init.uniform_(p, -bound, bound)

    def flatten_parameters(self) -> None:
        """Nothing to do: the parameters need not lie side by side."""

    @property
    def all_weights(self) -> list[list[Any]]:
        """The parameters, a list for each layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._weight_names]

    def _pass(self, x: Any, reached: Any, start: Any, weights: list[Any], backwards: bool) -> tuple[Any, Any]:
        """One direction of one layer: x is (T, B, …), or packed rows with the numbers of sequences `reached`."""
        biases = weights[2:4] if self.bias else [None, None]
        recur, project = (weights[1], biases[1]), weights[-1] if self.proj_size else None
        seen = _linear(x, weights[0], biases[0])
        steps = list(seen.unbind(0) if reached is None else seen.split(reached))
        step, state = _STEPS[self.mode], start
        ended: list[Any] = []
        out: list[Any] = []
        if reached is not None:
            state = tuple(s[: reached[-1 if backwards else 0]] for s in start)
        for part in reversed(steps) if backwards else steps:
            if reached is not None:
                state = _resized(state, start, part.shape[0], ended)
            state = step(part, state, recur, project)
            out.append(state[0])
        if ended:
            state = tuple(_core.cat(parts) for parts in zip(state, *reversed(ended), strict=True))
        if backwards:
            out.reverse()
        return (_core.stack(out) if reached is None else _core.cat(out)), state

    def _layers(self, x: Any, reached: Any, start: Any) -> tuple[Any, Any]:
        directions = 1 + self.bidirectional
        ends: list[Any] = []
        weights = self.all_weights
        for layer in range(self.num_layers):
            outputs = []
            for d in range(directions):
                k = layer * directions + d
                y, end = self._pass(x, reached, tuple(s[k] for s in start), weights[k], d == 1)
                outputs.append(y)
                ends.append(end)
            x = outputs[0] if directions == 1 else _core.cat(outputs, -1)
            if self.dropout and layer < self.num_layers - 1:
                x = functional.dropout(x, self.dropout, self.training)
        return x, tuple(_core.stack(parts) for parts in zip(*ends, strict=True))

    def _start(self, x: Any, rows: int, given: Any, order: Any) -> Any:
        """The states (layers · directions, rows, size) before the first step."""
        layers = self.num_layers * (1 + self.bidirectional)
        widths = (self.proj_size or self.hidden_size, self.hidden_size)[: 2 if self.mode == "LSTM" else 1]
        if given is None:
            return tuple(_core.zeros(layers, rows, width, dtype=x.dtype) for width in widths)
        for name, s, width in zip(("hidden[0]", "hidden[1]"), given, widths, strict=False):
            if tuple(s.shape) != (layers, rows, width):
                raise RuntimeError(
                    f"{type(self).__name__}: Expected {name} size {(layers, rows, width)}, got {list(s.shape)}"
                )
        return tuple(s if order is None else s.index_select(1, order) for s in given)

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:
        """The last layer's outputs, and the states after the last step."""
        op, packed = type(self).__name__, isinstance(input, PackedSequence)
        x, order = input, None
        reached: Any = None
        if packed:
            x, order = input.data, input.sorted_indices
            reached = input.batch_sizes.tolist()
        elif x.dim() not in (2, 3):
            raise ValueError(f"{op}: Expected input to be 2D or 3D, got {x.dim()}D instead")
        if x.shape[-1] != self.input_size:
            raise RuntimeError(
                f"{op}: input.size(-1) must be equal to input_size. Expected {self.input_size}, got {x.shape[-1]}"
            )
        weight = getattr(self, self._weight_names[0][0])
        if x.dtype != weight.dtype and not _core._autocast()[0]:
            raise ValueError(
                f"{op}: RNN input dtype ({x.dtype}) does not match weight dtype ({weight.dtype}). "
                f"Convert input: input.to({weight.dtype}), or convert model: model.to({x.dtype})"
            )
        given = None if hx is None else hx if self.mode == "LSTM" else (hx,)
        alone = not packed and x.dim() == 2
        if not packed and given is not None and any(s.dim() != x.dim() for s in given):
            kind = "unbatched 2-D" if alone else "batched 3-D"
            raise RuntimeError(
                f"{op}: For {kind} input, hx should also be {x.dim()}-D but got {given[0].dim()}-D tensor"
            )
        if alone:
            x = x.unsqueeze(1)
            given = None if given is None else tuple(s.unsqueeze(1) for s in given)
        elif not packed and self.batch_first:
            x = x.transpose(0, 1)
        y, end = self._layers(x, reached, self._start(x, reached[0] if packed else x.shape[1], given, order))
        if packed:
            if order is not None:
                end = tuple(s.index_select(1, input.unsorted_indices) for s in end)
            y = PackedSequence(y, *input[1:])
        elif alone:
            y, end = y.squeeze(1), tuple(s.squeeze(1) for s in end)
        elif self.batch_first:
            y = y.transpose(0, 1)
        return y, end if self.mode == "LSTM" else end[0]

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        for name, default in (
            ("proj_size", 0), ("num_layers", 1), ("bias", True), ("batch_first", False), ("dropout", 0),
            ("bidirectional", False),
        ):  # fmt: skip
            value = getattr(self, name)
            if value != default:
                text += f", {name}={value}"
        return text


class RNN(RNNBase):
    """h ← tanh(W x + b + U h + c), or relu; x is (T, B, input_size), or (B, T, …) with batch_first, or packed.

    Args:
        num_layers: layers above each other, with `dropout` between them in training.
        nonlinearity: 'tanh' or 'relu'.
        bidirectional: whether a second pass from the end stands beside the first.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"RNN: Unknown nonlinearity {nonlinearity!r}. Select from 'tanh' or 'relu'.")
        mode = f"RNN_{nonlinearity.upper()}"
        super().__init__(
            mode, input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0, device, dtype
        )
        self.nonlinearity = nonlinearity


class LSTM(RNNBase):
    """Long short-term memory; arguments as of `RNN`, and `proj_size`, to which the output is mapped where it is not 0.

    Called with (x, (h, c)); returns outputs and (h, c).
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__("LSTM", *args, **kwargs)


class GRU(RNNBase):
    """Gated recurrent units; arguments as of `RNN`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if "proj_size" in kwargs:
            raise ValueError("GRU: proj_size argument is only supported for LSTM, not RNN or GRU")
        super().__init__("GRU", *args, **kwargs)


class RNNCellBase(Module):
    """One step of a recurrent layer; `mode` names it."""

    mode = ""
    weight_ih: Any
    weight_hh: Any
    bias_ih: Any
    bias_hh: Any

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        rows = _GATES[self.mode] * hidden_size
        self.weight_ih = Parameter(_core.empty(rows, input_size, device=device, dtype=dtype))
        self.weight_hh = Parameter(_core.empty(rows, hidden_size, device=device, dtype=dtype))
        for name in ("bias_ih", "bias_hh"):
            p = Parameter(_core.empty(rows, device=device, dtype=dtype)) if bias else None
            self.register_parameter(name, p)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all from U(±1/√hidden_size), in the order of PyTorch's stream."""
        bound = 1 / sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for p in self.parameters():
            init.uniform_(p, -bound, bound)

    def _step(self, input: Any, state: Any) -> Any:
        op = type(self).__name__
        if input.dim() not in (1, 2):
            raise ValueError(f"{op}: Expected input to be 1D or 2D, got {input.dim()}D instead")
        if input.shape[-1] != self.input_size:
            raise RuntimeError(
                f"{op}: input has inconsistent input_size: got {input.shape[-1]}, expected {self.input_size}"
            )
        wanted = (*input.shape[:-1], self.hidden_size)
        if state is None:
            state = (_core.zeros(wanted, dtype=input.dtype),) * (2 if self.mode == "LSTM" else 1)
        for s in state:
            if s.dim() not in (1, 2):
                raise ValueError(f"{op}: Expected hidden to be 1D or 2D, got {s.dim()}D instead")
            if tuple(s.shape) != wanted:
                raise RuntimeError(f"{op}: hidden has inconsistent size: got {tuple(s.shape)}, expected {wanted}")
        seen = _linear(input, self.weight_ih, self.bias_ih)
        return _STEPS[self.mode](seen, state, (self.weight_hh, self.bias_hh), None)

    def forward(self, input: Any, hx: Any = None) -> Any:
        return self._step(input, None if hx is None else (hx,))[0]

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else f", bias={self.bias}")


class RNNCell(RNNCellBase):
    """h ← tanh(W x + b + U h + c), or relu, for x (B, input_size) or (input_size)."""

    mode = "RNN_TANH"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Any, hx: Any = None) -> Any:
        if self.nonlinearity not in ("tanh", "relu"):
            raise RuntimeError(f"RNNCell: Unknown nonlinearity: {self.nonlinearity}")
        self.mode = f"RNN_{self.nonlinearity.upper()}"
        return super().forward(input, hx)

    def extra_repr(self) -> str:
        more = "" if self.nonlinearity == "tanh" else f", nonlinearity={self.nonlinearity}"
        return super().extra_repr() + more


class LSTMCell(RNNCellBase):
    """One step of an `LSTM`: called with (x, (h, c)), returns (h, c)."""

    mode = "LSTM"

    def forward(self, input: Any, hx: Any = None) -> Any:
        return self._step(input, hx)


class GRUCell(RNNCellBase):
    """One step of a `GRU`."""

    mode = "GRU"
