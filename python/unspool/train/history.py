"""What a training has written down: numbers by epoch, losses by batch; as a table, a plot, a dict."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

__all__ = ["History"]


def _digits(value: float) -> str:
    return f"{value:.4g}"


class History:
    """Numbers by epoch: `history["loss"]` is a list of as many floats as there were epochs.

    `loss` is the mean of the epoch's batch losses, each weighted by its rows; beside it are `lr` (the first parameter
    group's during the epoch), the metrics, and both of the validation data with `val_` before the name. `batch_losses`
    has a list of each epoch's batch losses.
    """

    def __init__(self) -> None:
        self._columns: dict[str, list[float]] = {}
        self.batch_losses: list[list[float]] = []

    def add(self, row: Mapping[str, float], batch_losses: list[float]) -> None:
        """Another epoch. A number that an epoch lacks, as where a training is resumed without validation, is NaN."""
        for name in {**self._columns, **row}:
            self._columns.setdefault(name, [math.nan] * len(self)).append(row.get(name, math.nan))
        self.batch_losses.append(batch_losses)

    def __len__(self) -> int:
        return len(self.batch_losses)

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def __getitem__(self, name: str) -> list[float]:
        if name not in self._columns:
            raise KeyError(f"History: no {name!r}; there are {', '.join(self._columns) or 'no epochs yet'}")
        return self._columns[name]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, History) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]

    def last(self) -> dict[str, float]:
        """The numbers of the latest epoch."""
        return {name: values[-1] for name, values in self._columns.items()} if self.batch_losses else {}

    def to_dict(self) -> dict[str, Any]:
        """`{"epochs": {name: numbers}, "batch_losses": lists}`, of plain numbers."""
        return {
            "epochs": {name: list(values) for name, values in self._columns.items()},
            "batch_losses": [list(losses) for losses in self.batch_losses],
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> History:
        """What to_dict gave."""
        made = cls()
        made._columns = {name: list(values) for name, values in state["epochs"].items()}
        made.batch_losses = [list(losses) for losses in state["batch_losses"]]
        return made

    def _rows(self, most: int) -> list[list[str]]:
        """The table's rows; the middle is left out where there are more than `most` epochs."""
        n = len(self)
        shown = list(range(n)) if n <= most else [*range(most // 2), -1, *range(n - most // 2, n)]
        return [
            ["…"] * (len(self._columns) + 1)
            if epoch < 0
            else [str(epoch), *(_digits(values[epoch]) for values in self._columns.values())]
            for epoch in shown
        ]

    def table(self, epochs: int = 20) -> str:
        """At most so many epochs as text, a line each; columns beyond 80 characters go below."""
        if not self.batch_losses:
            return "no epochs yet"
        rows = [["epoch", *self._columns], *self._rows(epochs)]
        widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
        blocks: list[list[int]] = [[]]
        for k in range(1, len(widths)):
            if blocks[-1] and widths[0] + sum(widths[j] + 2 for j in [*blocks[-1], k]) > 80:
                blocks.append([])
            blocks[-1].append(k)
        return "\n\n".join(
            "\n".join("  ".join(row[k].rjust(widths[k]) for k in (0, *block)) for row in rows) for block in blocks
        )

    def __str__(self) -> str:
        return self.table()

    def __repr__(self) -> str:
        last = ", ".join(f"{name}={_digits(value)}" for name, value in self.last().items())
        return f"History(epochs={len(self)}{', ' if last else ''}{last})"

    def _repr_html_(self) -> str:
        def line(cells: list[str], tag: str) -> str:
            return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"

        rows = "".join(line(row, "td") for row in self._rows(20))
        return f"<table><thead>{line(['epoch', *self._columns], 'th')}</thead><tbody>{rows}</tbody></table>"

    def plot(self, path: Any = None) -> Any:
        """Curves by epoch, training and validation in one frame; matplotlib's Figure, also written to `path` if given.

        Raises:
            ValueError: there are no epochs.
            ImportError: matplotlib is not installed.
        """
        if not self.batch_losses:
            raise ValueError("History.plot: there are no epochs")
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise ImportError("History.plot needs matplotlib: pip install 'unspool[train]'") from error
        names = [name for name in self._columns if not name.startswith("val_")]
        figure = Figure(figsize=(4 * len(names), 3), layout="constrained")
        for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
            axes.plot(self._columns[name], label="training")
            if f"val_{name}" in self:
                axes.plot(self._columns[f"val_{name}"], label="validation")
                axes.legend()
            if all(value > 0 for value in self._columns[name]) and name in ("loss", "lr"):
                axes.set_yscale("log")
            axes.set(xlabel="epoch", title=name)
            axes.grid(alpha=0.3)
        if path is not None:
            figure.savefig(path, dpi=120)
        return figure
