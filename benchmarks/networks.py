"""A whole training step of a multilayer network, in each peer's own words: Linear and ReLU in turn, mean squared error.

Start at `setup`. All peers begin with the same weights and data, and return the loss of each step, so that a test can
ask whether they do the same work.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

# So small that nothing converges while it is timed: the momentum of a unit that died would become subnormal numbers,
# which cost PyTorch and NumPy several times as much.
LR = 1e-6
MOMENTUM = 0.9
BETAS, EPS = (0.9, 0.999), 1e-8

Array = NDArray[Any]
Layers = list[tuple[Array, Array]]


def flops(widths: Sequence[int], batch: int) -> float:
    """Of the products of a step: forward, weight gradients, input gradients except the first layer's."""
    sizes = [a * b for a, b in itertools.pairwise(widths)]
    return 2.0 * batch * (3 * sum(sizes) - sizes[0])


def start(widths: Sequence[int], batch: int, dtype: str) -> tuple[Layers, Array, Array]:
    """Weights (out × in) and biases (out) after He, inputs (batch × in), targets (batch × out)."""
    random = np.random.default_rng(0)
    layers = [
        (random.normal(0, (2 / m) ** 0.5, (n, m)).astype(dtype), np.zeros(n, dtype))
        for m, n in itertools.pairwise(widths)
    ]
    x, y = (random.normal(0, 1, (batch, width)).astype(dtype) for width in (widths[0], widths[-1]))
    return layers, x, y


def in_torch(package: str, layers: Layers, x: Array, y: Array, optimizer: str, frozen: int = 0) -> Callable[[], object]:
    """PyTorch's eager mode, and unspool's; frozen: unspool's compiled step, so many of them in a native loop."""
    torch, nn = import_module(package), import_module(f"{package}.nn")
    modules: list[Any] = []
    for weight, bias in layers:
        linear = nn.Linear(weight.shape[1], weight.shape[0], dtype=getattr(torch, str(weight.dtype)))
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(weight))
            linear.bias.copy_(torch.from_numpy(bias))
        modules += [linear, nn.ReLU()]
    model, criterion = nn.Sequential(*modules[:-1]), nn.MSELoss()
    if optimizer == "SGD":
        update = torch.optim.SGD(model.parameters(), lr=LR, momentum=MOMENTUM)
    else:
        update = torch.optim.Adam(model.parameters(), lr=LR, betas=BETAS, eps=EPS)
    inputs, targets = torch.from_numpy(x), torch.from_numpy(y)

    def step(x: object = inputs, y: object = targets) -> object:
        update.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        update.step()
        return loss

    if not frozen:
        return step
    compiled = torch.compile(step)
    for _ in range(3):  # two recordings and a replay
        compiled(inputs, targets)
    if frozen == 1:
        return lambda: compiled(inputs, targets)
    return lambda: compiled.repeat(frozen, inputs, targets)


def in_jax(layers: Layers, x: Array, y: Array, optimizer: str, scanned: int = 0) -> Callable[[], object]:
    """The jitted step; scanned: so many of them in one call, over as many batches."""
    """One jitted function a step, whose parameters and state are donated: their memory is used again."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)  # else float64 arrays become float32; others stay what they are
    # On one CPU, handing each call to another thread costs JAX more than the call: 31 µs become 40 to 150.
    jax.config.update("jax_cpu_enable_async_dispatch", False)

    def loss_of(layers: Any, x: Any, y: Any) -> Any:
        for weight, bias in layers[:-1]:
            x = jax.nn.relu(x @ weight.T + bias)
        weight, bias = layers[-1]
        return jnp.mean((x @ weight.T + bias - y) ** 2)

    def sgd(layers: Any, velocity: Any, x: Any, y: Any) -> Any:
        loss, grads = jax.value_and_grad(loss_of)(layers, x, y)
        velocity = jax.tree.map(lambda v, g: MOMENTUM * v + g, velocity, grads)
        return jax.tree.map(lambda p, v: p - LR * v, layers, velocity), velocity, loss

    def adam(layers: Any, state: Any, x: Any, y: Any) -> Any:
        (b1, b2), (first, second, t) = BETAS, state
        loss, grads = jax.value_and_grad(loss_of)(layers, x, y)
        t = t + 1
        first = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, first, grads)
        second = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, second, grads)
        rate, correction = LR / (1 - b1**t), 1 / jnp.sqrt(1 - b2**t)
        layers = jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) * correction + EPS), layers, first, second)
        return layers, (first, second, t), loss

    def zeros() -> Any:
        return jax.tree.map(jnp.zeros_like, layers)

    one = sgd if optimizer == "SGD" else adam

    def scan(layers: Any, state: Any, x: Any, y: Any) -> Any:
        def next_batch(carry: Any, batch: Any) -> Any:
            layers, state, loss = one(*carry, *batch)
            return (layers, state), loss

        (layers, state), losses = jax.lax.scan(next_batch, (layers, state), (x, y))
        return layers, state, losses[-1]

    step = jax.jit(scan if scanned else one, donate_argnums=(0, 1))
    now = jax.tree.map(jnp.array, layers)
    state = zeros() if optimizer == "SGD" else (zeros(), zeros(), jnp.zeros((), x.dtype))
    inputs, targets = jnp.array(x), jnp.array(y)
    if scanned:
        inputs, targets = (jnp.tile(t, (scanned, 1, 1)) for t in (inputs, targets))

    def run() -> object:
        nonlocal now, state
        now, state, loss = step(now, state, inputs, targets)
        return loss

    return run


def in_numpy(layers: Layers, x: Array, y: Array) -> Callable[[], object]:
    """By hand, with the derivatives written out and the updates in place. SGD with momentum only."""
    weights, biases = [w.T.copy() for w, _ in layers], [b.copy() for _, b in layers]
    velocity = [(np.zeros_like(w), np.zeros_like(b)) for w, b in zip(weights, biases, strict=True)]
    last = len(weights) - 1

    def step() -> object:
        values = [x]
        for i, (w, b) in enumerate(zip(weights, biases, strict=True)):
            z = values[-1] @ w
            z += b
            values.append(np.maximum(z, 0, out=z) if i < last else z)
        difference = values[-1] - y
        loss = np.vdot(difference, difference) / y.size
        g = difference * (2 / y.size)
        for i in range(last, -1, -1):
            gw, gb = values[i].T @ g, g.sum(0)
            if i > 0:
                g = (g @ weights[i].T) * (values[i] > 0)
            for p, v, gradient in ((weights[i], velocity[i][0], gw), (biases[i], velocity[i][1], gb)):
                v *= MOMENTUM
                v += gradient
                p -= LR * v
        return loss

    return step


def setup(
    peer: str,
    *,
    widths: Sequence[int],
    batch: int,
    optimizer: str = "SGD",
    dtype: str = "float32",
    frozen: int = 0,
) -> Callable[[], object]:
    begin = start(widths, batch, dtype)
    if peer == "numpy":
        return in_numpy(*begin)
    if peer == "jax":
        return in_jax(*begin, optimizer)
    return in_torch(peer, *begin, optimizer, frozen if peer == "unspool" else 0)
