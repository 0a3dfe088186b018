"""Trains a small network on scikit-learn's handwritten digits (8 by 8 pixels) and draws its curves.

    pip install '.[examples]' && python examples/digits.py

A third of the 1,797 pictures is held out. With the seed change the split, the initial weights, the order of the
batches and the noise that is added to the pictures (it teaches the network to ignore single pixels). Accuracy is
printed for both parts, and `digits.png` gets loss and accuracy by epoch.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

import unspool as torch
import unspool.nn as nn
from unspool.optim.lr_scheduler import StepLR
from unspool.utils.data import DataLoader, TensorDataset

try:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split
    from tqdm import tqdm
except ImportError as error:
    sys.exit(
        f"This example needs {error.name}: install the extra with `pip install 'unspool[examples]'`, "
        "or `pip install '.[examples]'` in a checkout."
    )

NOISE = 0.5  # standard deviation, in units of the pixels' half range

Curves = dict[str, list[float]]


def load(seed: int) -> tuple[torch.Tensor, ...]:
    """Training pictures, held-out pictures (float32, from -1 to 1), training labels, held-out labels (int64)."""
    digits = load_digits()
    x = (digits.data / 8.0 - 1.0).astype(np.float32)
    y = digits.target.astype(np.int64)
    parts = train_test_split(x, y, test_size=1 / 3, random_state=seed, stratify=y)
    return tuple(torch.from_numpy(part) for part in parts)


def accuracy(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    with torch.no_grad():
        return (model(x).argmax(1) == y).float().mean().item()


def he_initialization(layer: nn.Module) -> None:
    if isinstance(layer, nn.Linear):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)


def train(seed: int, epochs: int) -> Curves:
    torch.manual_seed(seed)
    x_train, x_test, y_train, y_test = load(seed)
    model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10))
    model.apply(he_initialization)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)
    scheduler = StepLR(optimizer, step_size=max(1, epochs // 3), gamma=0.2)
    loader = DataLoader(TensorDataset(x_train, y_train), batch_size=32, shuffle=True)

    curves: Curves = {"loss": [], "train": [], "test": []}
    progress = tqdm(range(epochs), desc=f"seed {seed}", unit="epoch")
    for _ in progress:
        total = 0.0
        for x, y in loader:
            noisy = x + NOISE * torch.randn(x.shape)
            optimizer.zero_grad()
            loss = criterion(model(noisy), y)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(y)
        scheduler.step()
        curves["loss"].append(total / len(y_train))
        curves["train"].append(accuracy(model, x_train, y_train))
        curves["test"].append(accuracy(model, x_test, y_test))
        progress.set_postfix(loss=f"{curves['loss'][-1]:.4f}", test=f"{curves['test'][-1]:.2%}")
    return curves


def draw(runs: dict[int, Curves], path: Path) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for index, (seed, curves) in enumerate(runs.items()):
        epochs = range(1, len(curves["loss"]) + 1)
        left.semilogy(epochs, curves["loss"], color=f"C{index}", label=f"seed {seed}")
        right.plot(
            epochs, [100 * a for a in curves["train"]], color=f"C{index}", linestyle=":", label=f"seed {seed}, train"
        )
        right.plot(epochs, [100 * a for a in curves["test"]], color=f"C{index}", label=f"seed {seed}, held out")
    left.set(xlabel="epoch", ylabel="mean cross-entropy of an epoch", title="loss")
    right.set(xlabel="epoch", ylabel="accuracy (%)", ylim=(85, 100.5), title="accuracy")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--out", type=Path, default=Path("digits.png"), help="where the picture goes")
    args = parser.parse_args()
    runs = {}
    for seed in args.seeds:
        runs[seed] = train(seed, args.epochs)
        train_percent, test_percent = (100 * runs[seed][part][-1] for part in ("train", "test"))
        print(f"seed {seed}: train accuracy {train_percent:.2f} %, test accuracy {test_percent:.2f} %", flush=True)
    draw(runs, args.out)
    print(f"curves: {args.out}")


if __name__ == "__main__":
    main()
