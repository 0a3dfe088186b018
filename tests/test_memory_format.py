"""memory_format: how elements lie, beside PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import unspool

torch = pytest.importorskip("torch")

_SHAPES = [
    (2, 3, 4, 5),
    (1, 3, 1, 2),
    (2, 1, 3, 3),
    (4, 2, 1, 1),
    (0, 3, 2, 2),
    (2, 3, 2, 4, 5),
    (1, 1, 1, 1, 1),
    (3, 4),
    (5,),
]
_FORMATS = ["contiguous_format", "preserve_format", "channels_last", "channels_last_3d"]
_MAKERS = {
    "contiguous": lambda m, x, f: x.contiguous(memory_format=f),
    "to": lambda m, x, f: x.to(memory_format=f),
    "to another dtype": lambda m, x, f: x.to(m.float64, memory_format=f),
    "double": lambda m, x, f: x.double(memory_format=f),
    "clone": lambda m, x, f: x.clone(memory_format=f),
    "empty": lambda m, x, f: m.empty(x.shape, memory_format=f).fill_(1),
    "zeros_like": lambda m, x, f: m.zeros_like(x, memory_format=f),
    "full_like": lambda m, x, f: m.full_like(x, 3, memory_format=f),
    "rand_like": lambda m, x, f: m.rand_like(x, memory_format=f),
}


def _outcome(m: Any, maker: str, shape: tuple[int, ...], name: str, moved: bool) -> Any:
    m.manual_seed(0)
    x = m.arange(int(np.prod(shape)), dtype=m.float32).reshape(shape)
    if moved:
        x = x.transpose(0, -1)
    try:
        y = _MAKERS[maker](m, x, getattr(m, name))
    except RuntimeError as error:
        return "required rank" in str(error)
    asked = [y.is_contiguous(memory_format=getattr(m, f)) for f in ("contiguous_format", *_FORMATS[2:])]
    return tuple(y.shape), y.stride(), asked, y.is_contiguous(), str(y.dtype), y.numpy().tobytes(), y is x


@pytest.mark.parametrize("maker", _MAKERS)
@pytest.mark.parametrize("name", _FORMATS)
@pytest.mark.parametrize("moved", [False, True])
def test_elements_lie_as_in_pytorch(maker: str, name: str, moved: bool) -> None:
    if name == "preserve_format" and maker in ("contiguous", "empty"):
        pytest.skip("refused by PyTorch: nothing is there to preserve")
    for shape in _SHAPES:
        if 0 in shape and moved and name == "preserve_format":
            continue  # strides of no elements
        seen = [_outcome(m, maker, shape, name, moved) for m in (torch, unspool)]
        assert seen[0] == seen[1], shape


def test_modules_and_what_they_compute() -> None:
    seen = []
    for m in (torch, unspool):
        m.manual_seed(0)
        net = m.nn.Sequential(
            m.nn.Conv2d(3, 4, 3),
            m.nn.BatchNorm2d(4),
            m.nn.ReLU(),
            m.nn.MaxPool2d(2),
            m.nn.Flatten(),
            m.nn.Linear(36, 2),
        )
        before = net(m.ones(2, 3, 8, 8))
        assert net.to(memory_format=m.channels_last) is net
        x = m.randn(2, 3, 8, 8).to(memory_format=m.channels_last).requires_grad_()
        y = net(x)
        y.square().sum().backward()
        grads = [p.grad.numpy() for p in net.parameters()]
        strides = [p.stride() for p in net.parameters()]
        seen.append(([before.detach().numpy(), y.detach().numpy(), x.grad.numpy(), *grads], strides, (x + 1).stride()))
        with pytest.raises(RuntimeError, match="required rank 4"):
            m.nn.Conv3d(1, 1, 1).to(memory_format=m.channels_last)
    for expected, found in zip(seen[0][0], seen[1][0], strict=True):
        np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-5)
    assert seen[0][1:] == seen[1][1:]


def test_a_gradient_passes_through() -> None:
    x = unspool.randn(2, 3, 4, 5, requires_grad=True)
    w = unspool.randn(2, 3, 4, 5)
    (x.contiguous(memory_format=unspool.channels_last) * w).sum().backward()
    assert unspool.equal(x.grad, w)


def test_what_is_no_format() -> None:
    with pytest.raises(TypeError, match="memory_format"):
        unspool.nn.Linear(1, 1).to(memory_format="channels_last")
    with pytest.raises(NotImplementedError, match="channels_last"):
        unspool.ones(1, 2, 3, 4).resize_(1, 2, 3, 4, memory_format=unspool.channels_last)
