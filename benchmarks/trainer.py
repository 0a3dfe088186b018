"""What Trainer's whole loop costs a step: shuffling, gathering, frozen steps, schedule, history.

Beside it PyTorch's bare eager step on one batch, without a DataLoader, and the faster of JAX's jitted step and of its
scan over an epoch's stacked batches, neither of which shuffles. Then sweeps over widths against PyTorch with its
DataLoader, and scikit-learn's MLPClassifier on its digits, with the same network, batches, epochs and solver.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import numpy as np

import harness
import networks
from step import NETWORKS

LIMITS = {  # of PyTorch's time, of JAX's
    "10-40-40-5, 10": (1 / 60, 1 / 4),
    "17-64-64-6, 64": (1 / 12, 1 / 3),
    "784-256-256-10, 128": (0.41, 0.90),
    "1024×4 layers, 256": (0.43, 0.88),
    "32 layers of 64, 32": (1 / 9, 0.40),
}
STEPS = {"784-256-256-10, 128": 20, "1024×4 layers, 256": 4}  # of an epoch, where not 100
WIDTHS = (2, 4, 6, 8, 10, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 192, 224, 256, 288, 320)
WIDTHS += (360, 400)
EXAMPLES, BATCH = 4000, 100
EPOCHS = 100  # of the digits


def cases() -> list[harness.Case]:
    found = []
    for name, (widths, batch, _) in NETWORKS.items():
        of_torch, of_jax = LIMITS[name]
        steps = STEPS.get(name, 100)
        found.append(
            harness.Case(
                name,
                ("fma", "unspool", "torch", "jax"),
                {"widths": widths, "batch": batch, "steps": steps},
                (harness.against("torch", of_torch), harness.against("jax", of_jax)),
                networks.flops(widths, batch),
                group="epoch",
                per=steps,
            )
        )
    for name, widths, limit in (("h to 64", WIDTHS[:15], 1 / 15), ("h to 400", WIDTHS, 1 / 2.5)):
        found.append(
            harness.Case(
                f"40-h-h-10, {name}",
                ("unspool", "torch"),
                {"sweep": widths},
                (harness.against("torch", limit),),
                group="sweep",
            )
        )
    found.append(
        harness.Case(
            "digits, 64-100-10",
            ("unspool", "sklearn"),
            {"digits": 1},
            (harness.against("sklearn", 1 / 8),),
            group="digits",
        )
    )
    return found


def model_of(nn: Any, widths: Sequence[int]) -> Any:
    layers: list[Any] = []
    for a, b in itertools.pairwise(widths):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def epoch(peer: str, widths: Sequence[int], batch: int, steps: int) -> Callable[[], object]:
    """One epoch of so many steps; PyTorch's and JAX's batches are there already."""
    layers, x, y = networks.start(widths, batch, "float32")
    if peer == "torch":
        step = networks.in_torch("torch", layers, x, y, "SGD")
        return lambda: [step() for _ in range(steps)]
    if peer == "jax":
        one = networks.in_jax(layers, x, y, "SGD")
        return faster(lambda: [one() for _ in range(steps)], networks.in_jax(layers, x, y, "SGD", scanned=steps))
    import unspool
    from unspool import nn

    unspool.manual_seed(0)
    model = model_of(nn, widths)
    optimizer = unspool.optim.SGD(model.parameters(), lr=networks.LR, momentum=networks.MOMENTUM)
    scheduler = unspool.optim.lr_scheduler.StepLR(optimizer, step_size=1000)
    trainer = unspool.Trainer(model, nn.MSELoss(), optimizer, scheduler)
    xs, ys = unspool.randn(batch * steps, widths[0]), unspool.randn(batch * steps, widths[-1])
    return lambda: trainer.fit(xs, ys, batch_size=batch)


def faster(*functions: Callable[[], object]) -> Callable[[], object]:
    """The one that takes less time, the best of three, after one that warms up."""

    def seconds(function: Callable[[], object]) -> float:
        function()
        times = []
        for _ in range(3):
            begun = time.perf_counter()
            function()
            times.append(time.perf_counter() - begun)
        return min(times)

    return min(functions, key=seconds)


def sweep(peer: str, widths: Sequence[int]) -> Callable[[], object]:
    """Two epochs of each network from scratch, with cross-entropy and SGD; PyTorch's with its DataLoader."""
    torch, nn = import_module(peer), import_module(f"{peer}.nn")
    data = import_module(f"{peer}.utils.data")
    torch.manual_seed(0)
    x, y = torch.randn(EXAMPLES, 40), torch.randint(0, 10, (EXAMPLES,))

    def trained(width: int) -> object:
        model, criterion = model_of(nn, (40, width, width, 10)), nn.CrossEntropyLoss()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
        if peer == "unspool":
            return torch.Trainer(model, criterion, optimizer).fit(x, y, epochs=2, batch_size=BATCH)
        for _ in range(2):
            for a, b in data.DataLoader(data.TensorDataset(x, y), batch_size=BATCH, shuffle=True):
                optimizer.zero_grad()
                loss = criterion(model(a), b)
                loss.backward()
                optimizer.step()
        return loss

    return lambda: [trained(width) for width in widths]


def digits(peer: str) -> Callable[[], object]:
    """Adam on 1,797 pictures, batches of 200, from weights drawn as scikit-learn draws them."""
    from sklearn.datasets import load_digits
    from sklearn.neural_network import MLPClassifier

    found = load_digits()
    x, y = (found.data / 16).astype(np.float32), found.target
    if peer == "sklearn":
        import warnings

        from sklearn.exceptions import ConvergenceWarning

        warnings.simplefilter("ignore", ConvergenceWarning)
        return lambda: MLPClassifier((100,), max_iter=EPOCHS, n_iter_no_change=EPOCHS, alpha=0, random_state=0).fit(
            x, y
        )
    import unspool
    from unspool import nn

    def fit() -> object:
        unspool.manual_seed(0)
        model = model_of(nn, (64, 100, 10))
        for layer in (model[0], model[2]):
            bound = (6 / (layer.in_features + layer.out_features)) ** 0.5
            nn.init.uniform_(layer.weight, -bound, bound)
            nn.init.uniform_(layer.bias, -bound, bound)
        trainer = unspool.Trainer(model, nn.CrossEntropyLoss(), unspool.optim.Adam(model.parameters()))
        return trainer.fit(x, y, epochs=EPOCHS, batch_size=200)

    return fit


def setup(peer: str, **arguments: Any) -> Callable[[], object]:
    if "sweep" in arguments:
        return sweep(peer, arguments["sweep"])
    return digits(peer) if "digits" in arguments else epoch(peer, **arguments)


if __name__ == "__main__":
    harness.main(__doc__, cases(), setup, seconds=0.05, rounds=9)
