"""Pictures of a frozen function: its steps from top to bottom, an arc from each to those that read what it makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["draw"]

_MOST_STEPS = 400
_COLORS = {
    "argument": "#1b7837",
    "from outside": "#2166ac",
    "constant": "#7f7f7f",
    "result": "#b2182b",
    "gradient": "#d6604d",
}
_SHORT = {"argument": "x", "from outside": "p", "constant": "c", "result": "y", "gradient": "g"}
_Steps = list[tuple[str, str, str, list[int], list[int]]]


def draw(plans: list[tuple[_Steps, _Steps, dict[int, str]]], path: Any) -> None:
    """Write the steps of the plans before and after fusion, side by side."""
    suffix = Path(path).suffix
    if suffix not in (".svg", ".png"):
        raise ValueError(f"draw: path must end in .svg or .png, got {str(path)!r}")
    before = [step for steps, _, _ in plans for step in steps]
    if len(before) > _MOST_STEPS:
        raise ValueError(f"draw: {len(before)} steps are too many to be read; at most {_MOST_STEPS} are drawn")
    try:
        from matplotlib.figure import Figure
        from matplotlib.lines import Line2D
    except ImportError as error:
        raise ImportError("draw needs matplotlib: pip install 'unspool[examples]'") from error
    columns = []
    for which, title in ((0, "recorded"), (1, "after fusion")):
        rows: list[Any] = []
        for number, plan in enumerate(plans):
            if number:
                rows.append("backward")
            steps = plan[0] if which == 0 else plan[1]
            rows += [(*step, plan[2], number) for step in steps]
        columns.append((f"{title}: {sum(len(p[which]) for p in plans)} steps", rows))
    longest = max(len(rows) for _, rows in columns)
    figure = Figure(figsize=(15, 1.6 + 0.27 * longest))
    axes = figure.subplots(1, 2)
    for axis, (title, rows) in zip(axes, columns, strict=True):
        _column(axis, title, rows, longest)
    shown = [Line2D([], [], color=c, marker="s", linestyle="", label=f"{_SHORT[k]}: {k}") for k, c in _COLORS.items()]
    figure.legend(handles=shown, loc="lower center", ncols=len(shown), frameon=False)
    figure.tight_layout(rect=(0, 0.9 / (1.6 + 0.27 * longest), 1, 1))
    figure.savefig(path, dpi=110)


def _column(axis: Any, title: str, rows: list[Any], longest: int) -> None:
    from matplotlib.patches import Arc

    axis.set_title(title, loc="left")
    axis.set_xlim(-4.2, 16)
    axis.set_ylim(longest - 0.2, -0.8)
    axis.axis("off")
    maker: dict[tuple[int, int], int] = {}
    for y, row in enumerate(rows):
        if row == "backward":
            axis.text(0.1, y, "backward:", va="center", fontsize=9, style="italic")
            continue
        name, shape, _, reads, writes, kinds, plan = row
        label = name if len(name) <= 44 else name[:43] + "…"
        axis.plot([0], [y], "o", color="black", markersize=3)
        axis.text(0.25, y, f"{label}  {shape}", va="center", fontsize=8)
        seen = [b for b in dict.fromkeys(reads) if (plan, b) not in maker or kinds[b] != "temporary"]
        made = [b for b in dict.fromkeys(writes) if kinds[b] != "temporary"]
        x = 15.9
        for text, buffers in ((" →", made), ("", seen)):
            for b in reversed(buffers):
                if kinds[b] == "temporary":
                    continue
                axis.text(x, y, f"{_SHORT[kinds[b]]}{b}", va="center", ha="right", fontsize=7, color=_COLORS[kinds[b]])
                x -= 0.75
            if text and made:
                axis.text(x, y, "→", va="center", ha="right", fontsize=7)
                x -= 0.5
        for b in dict.fromkeys(reads):
            start = maker.get((plan, b))
            if start is None:
                continue
            span = y - start
            color = _COLORS.get(kinds[b], "#555555")
            width = min(8.0, 0.6 + 0.55 * span)
            axis.add_patch(Arc((0, start + span / 2), width, span, theta1=90, theta2=270, color=color, linewidth=0.8))
        for b in writes:
            maker[plan, b] = y
