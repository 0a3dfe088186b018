"""Models that the tests of initialisers share, and what they look at in them."""

from __future__ import annotations

from typing import Any

import numpy as np

import unspool
from unspool import nn
from unspool.nn import functional as F


def squares(model: Any) -> dict[str, float]:
    """fan_in · mean square of each Linear's weight: gain², as it was drawn."""
    return {
        path: float((m.weight.detach().double().numpy() ** 2).mean() * m.in_features)
        for path, m in model.named_modules()
        if isinstance(m, nn.Linear)
    }


def state(model: Any) -> dict[str, Any]:
    return {name: value.detach().clone().numpy() for name, value in model.state_dict().items()}


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


def mlp(*activations: Any, width: int = 300) -> Any:
    parts: list[Any] = []
    for activation in activations:
        parts += [nn.Linear(width, width), activation]
    return nn.Sequential(*parts, nn.Linear(width, width))


class Written(nn.Module):
    """Its forward calls functions, in an order that its parts do not have."""

    def __init__(self) -> None:
        super().__init__()
        self.last, self.middle, self.first = (nn.Linear(300, 300) for _ in range(3))
        self.act = nn.SiLU()

    def forward(self, x: Any) -> Any:
        x = self.act(self.first(x))
        return self.last(unspool.tanh(self.middle(x)).reshape(-1, 300).unsqueeze(1).transpose(0, 1))


class Conv1d(nn.Module):
    """A convolution of one dim, as far as it is needed here."""

    def __init__(self, channels: int, out: int, kernel_size: int) -> None:
        super().__init__()
        self.kernel_size = (kernel_size,)
        self.weight = nn.Parameter(unspool.zeros(out, channels, kernel_size))
        self.bias = nn.Parameter(unspool.ones(out))

    def forward(self, x: Any) -> Any:
        k, n = self.kernel_size[0], x.shape[-1]
        taps = [F.linear(x[..., i : n - k + 1 + i].transpose(1, 2), self.weight[:, :, i]) for i in range(k)]
        total = taps[0]
        for tap in taps[1:]:
            total = total + tap
        return (total + self.bias).transpose(1, 2)


class Idle(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.idle = nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, x: Any) -> Any:
        return self.used(x)


class Failing(nn.Module):
    """It fails when all layers before it have been drawn, as what they read is measured."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)
        self.calls = 0

    def forward(self, x: Any) -> Any:
        self.calls += 1
        x = self.b(self.a(x) + x)
        if self.calls > 1:
            raise RuntimeError("no more")
        return x
