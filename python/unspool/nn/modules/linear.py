"""Layers that reshape or map linearly: `Linear`, `Identity`, `Flatten`."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Any

from unspool import _core
from unspool.errors import ShapeError
from unspool.nn import _default_init, functional, init
from unspool.nn.modules.module import Module
from unspool.nn.parameter import Parameter

__all__ = ["Bilinear", "Flatten", "Identity", "LazyLinear", "Linear", "Unflatten"]

_linear = _core.linear


class Identity(Module):
    """Returns its input; takes and ignores any arguments, to stand in for another layer."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Any) -> Any:
        return input


@_core._runs_natively
class Linear(Module):
    """y = x·Wᵀ + b, for x of shape (…, in_features).

    Args:
        in_features, out_features: the sizes; `weight` has shape (out_features, in_features).
        bias: whether there is a bias of shape (out_features).
    """

    in_features: int
    out_features: int
    weight: Any
    bias: Any

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        for name, size in (("in_features", in_features), ("out_features", out_features)):
            if size < 0:
                raise ShapeError(f"Linear: {name} must not be negative, got {size}")
        self.in_features = in_features
        self.out_features = out_features
        self.weight = Parameter(_core.empty((out_features, in_features), dtype=dtype, device=device))
        if bias:
            self.bias = Parameter(_core.empty(out_features, dtype=dtype, device=device))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weight, then the bias, both from U(±1/√in_features), in the order of PyTorch's stream.

        `unspool.set_default_init` sets another scheme.
        """
        _default_init.linear_(self.weight, self.bias)

    def forward(self, input: Any) -> Any:
        own = self._parameters
        try:
            return _linear(input, own["weight"], own["bias"])
        except KeyError:  # a parameter was replaced by a plain attribute
            return _linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class LazyLinear(Linear):
    """A Linear that takes in_features from its first input; its parameters are empty, and the same objects, until then.

    Args:
        out_features: the size of the output.
        bias: whether there is a bias.
    """

    def __init__(self, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None) -> None:
        super().__init__(0, 0, bias, device, dtype)
        if out_features < 0:
            raise ShapeError(f"LazyLinear: out_features must not be negative, got {out_features}")
        self.out_features = out_features
        self._init = _default_init.get_default_init()

    def reset_parameters(self) -> None:
        """Nothing, as there is nothing to draw yet."""

    def forward(self, input: Any) -> Any:
        if input.dim() == 0:
            raise ShapeError("LazyLinear: the input must have a dim of features, got a 0-d tensor")
        self.in_features = input.shape[-1]
        for p, shape in ((self.weight, (self.out_features, self.in_features)), (self.bias, (self.out_features,))):
            if p is not None:
                p.data = _core.empty(shape, dtype=p.dtype)
        self.__class__ = Linear  # type: ignore[assignment]
        with _default_init.set_default_init(self.__dict__.pop("_init", "pytorch")):
            self.reset_parameters()
        return self.forward(input)


class Flatten(Module):
    """Merge the dimensions from `start_dim` to `end_dim` into one."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input: Any) -> Any:
        shape = tuple(input.shape)
        n = max(len(shape), 1)
        for name, dim in (("start_dim", self.start_dim), ("end_dim", self.end_dim)):
            if not -n <= dim < n:
                raise IndexError(f"Flatten: {name} is {dim}; for shape {shape} it must lie in [{-n}, {n - 1}]")
        first, last = self.start_dim % n, self.end_dim % n
        if first > last:
            raise RuntimeError(f"Flatten: start_dim {self.start_dim} comes after end_dim {self.end_dim} in {shape}")
        merged = 1
        for size in shape[first : last + 1]:
            merged *= size
        return input.reshape((*shape[:first], merged, *shape[last + 1 :]))

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Split the dimension `dim` into several, of sizes unflattened_size (one may be -1)."""

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        super().__init__()
        if not isinstance(dim, int):
            raise TypeError(f"Unflatten: dim must be an int (there are no named dims), got {type(dim).__name__}")
        if not isinstance(unflattened_size, (tuple, list)):
            kind = type(unflattened_size).__name__
            raise TypeError(f"Unflatten: unflattened_size must be a tuple of ints, but found type {kind}")
        for i, size in enumerate(unflattened_size):
            if not isinstance(size, int):
                kind = type(size).__name__
                raise TypeError(f"Unflatten: unflattened_size must hold ints, but found type {kind} at pos {i}")
        self.dim = dim
        self.unflattened_size = unflattened_size

    def forward(self, input: Any) -> Any:
        return input.unflatten(self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"


class Bilinear(Module):
    """y[k] = x1ᵀ·W[k]·x2 + b[k], for x1 (…, in1_features) and x2 (…, in2_features).

    `weight` has shape (out_features, in1_features, in2_features), `bias` (out_features).
    """

    weight: Any
    bias: Any

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if in1_features <= 0:
            raise ValueError(f"Bilinear: in1_features must be > 0, got {in1_features}")
        self.in1_features = in1_features
        self.in2_features = in2_features
        self.out_features = out_features
        size = (out_features, in1_features, in2_features)
        self.weight = Parameter(_core.empty(size, dtype=dtype, device=device))
        if bias:
            self.bias = Parameter(_core.empty(out_features, dtype=dtype, device=device))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weight, then the bias, both from U(±1/√in1_features)."""
        bound = 1 / sqrt(self.in1_features)
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input1: Any, input2: Any) -> Any:
        return functional.bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, "
            f"out_features={self.out_features}, bias={self.bias is not None}"
        )
