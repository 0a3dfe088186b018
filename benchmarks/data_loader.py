"""What an epoch of a DataLoader over a TensorDataset costs, with nothing done to its batches."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

import harness

SETS = {  # rows, inputs, targets, batch
    "100 × 15, batch 10": (100, 10, 5, 10),
    "10000 × 794, batch 128": (10_000, 784, 10, 128),
}


def setup(peer: str, *, rows: int, inputs: int, targets: int, batch: int, shuffle: bool) -> Callable[[], object]:
    torch, data = import_module(peer), import_module(f"{peer}.utils.data")
    torch.manual_seed(0)
    loader = data.DataLoader(
        data.TensorDataset(torch.randn(rows, inputs), torch.randn(rows, targets)), batch_size=batch, shuffle=shuffle
    )

    def epoch() -> None:
        for _ in loader:
            pass

    return epoch


def cases() -> list[harness.Case]:
    return [
        harness.Case(
            name + (", shuffled" if shuffle else ""),
            ("unspool", "torch"),
            {"rows": rows, "inputs": inputs, "targets": targets, "batch": batch, "shuffle": shuffle},
            (harness.against("torch"),),
        )
        for name, (rows, inputs, targets, batch) in SETS.items()
        for shuffle in (True, False)
    ]


if __name__ == "__main__":
    harness.main(__doc__, cases(), setup)
