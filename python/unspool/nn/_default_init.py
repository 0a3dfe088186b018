"""What layers draw their parameters from when they are built: PyTorch's scheme, or He's."""

from __future__ import annotations

from math import sqrt
from typing import Any

from unspool.nn import init

__all__ = ["attention_", "get_default_init", "linear_", "set_default_init"]


def _pytorch_linear(weight: Any, bias: Any) -> None:
    """Weight, then bias, both from U(±1/√fan_in)."""
    init.kaiming_uniform_(weight, a=sqrt(5))
    if bias is not None:
        fan_in = weight.shape[1]
        bound = 1 / sqrt(fan_in) if fan_in > 0 else 0
        init.uniform_(bias, -bound, bound)


def _he_linear(weight: Any, bias: Any) -> None:
    """N(0, 2 / fan_in) and 0: right for what reads a ReLU's output."""
    init.kaiming_normal_(weight, nonlinearity="relu")
    if bias is not None:
        init.zeros_(bias)


def _pytorch_attention(inputs: list[Any], out: Any) -> None:
    """Glorot's bound, of the three weights as one where they are one."""
    for weight in inputs:
        init.xavier_uniform_(weight)


def _he_attention(inputs: list[Any], out: Any) -> None:
    """N(0, 1 / fan_in): no activation comes before these weights."""
    for weight in (*inputs, out):
        init.kaiming_normal_(weight, nonlinearity="linear")


_SCHEMES = {"pytorch": (_pytorch_linear, _pytorch_attention), "he": (_he_linear, _he_attention)}
_current = "pytorch"


class set_default_init:
    """What layers built from now on draw their parameters from; in a with statement, until its end.

    Args:
        scheme: 'pytorch', which gives PyTorch's numbers, or 'he': linear layers draw N(0, 2 / fan_in), attention
            N(0, 1 / fan_in) for each of its weights, and biases are 0. A layer does not know which activation it will
            read; `nn.init.he_` of the finished model does.

    Raises:
        ValueError: an unknown scheme.
    """

    def __init__(self, scheme: str) -> None:
        global _current
        if scheme not in list(_SCHEMES):  # which may not be hashable
            known = " or ".join(map(repr, _SCHEMES))
            raise ValueError(f"set_default_init: scheme must be {known}, got {scheme!r}")
        self._before = _current
        _current = scheme

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        global _current
        _current = self._before


def get_default_init() -> str:
    """The name that `set_default_init` was given last, 'pytorch' at first."""
    return _current


def linear_(weight: Any, bias: Any) -> None:
    """Fill a linear layer's weight (out, in) and its bias (out) or None."""
    _SCHEMES[_current][0](weight, bias)


def attention_(inputs: list[Any], out: Any) -> None:
    """Fill the weights of queries, keys and values, (E, in) each or (3E, E) for all, and perhaps of the result."""
    _SCHEMES[_current][1](inputs, out)
