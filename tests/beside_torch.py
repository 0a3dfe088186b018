"""What tests that run one program in unspool and in PyTorch share: what a layer shows, and how two showings agree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def behaviour(m: Any, make: Callable[[Any], Any], data: Any) -> dict[str, Any]:
    """Everything a user sees of a layer over two training steps and an evaluation."""
    m.manual_seed(3)
    layer = make(m.nn)
    seen: dict[str, Any] = {"repr": repr(layer), "start": state(layer)}
    for step in range(2):
        x = m.tensor(data)
        if x.is_floating_point():
            x.requires_grad_()
        y = layer(x)
        weights = m.tensor(np.linspace(-1, 2, y.numel()).reshape(tuple(y.shape)), dtype=y.dtype)
        (y * weights).sum().backward()
        seen[f"output {step}"] = y.detach().numpy()
        seen[f"gradient {step}"] = None if x.grad is None else x.grad.numpy()
    seen["gradients"] = [None if p.grad is None else p.grad.numpy() for p in layer.parameters()]
    seen["end"] = state(layer)
    layer.eval()
    seen["evaluated"] = layer(m.tensor(data)).detach().numpy()
    return seen


def state(layer: Any) -> dict[str, Any]:
    return {name: t.numpy().copy() for name, t in layer.state_dict().items()}


def agree(mine: Any, theirs: Any, what: str) -> None:
    if isinstance(theirs, dict):
        assert list(mine) == list(theirs), what
        for key, value in theirs.items():
            agree(mine[key], value, f"{what} {key}")
    elif isinstance(theirs, list):
        assert len(mine) == len(theirs), what
        for i, value in enumerate(theirs):
            agree(mine[i], value, f"{what} {i}")
    elif isinstance(theirs, np.ndarray):
        assert (mine.shape, mine.dtype) == (theirs.shape, theirs.dtype), what
        scale = max(1.0, float(np.abs(theirs[np.isfinite(theirs)]).max(initial=0.0)))
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=4e-6 * scale, err_msg=what)
    else:
        assert mine == theirs, what
