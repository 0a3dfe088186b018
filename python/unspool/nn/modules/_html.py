"""The table that a notebook shows for a module: layers, settings, shapes of parameters, and how many there are."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any

__all__ = ["summary"]

_CELL = "text-align: left; padding: 0.1em 0.8em; vertical-align: top"
_NUMBER = _CELL.replace("left", "right")


def _walk(module: Any, path: str, depth: int) -> Iterator[tuple[int, str, Any]]:
    """(depth, last part of the name, module), parents first; a module that stands in two places comes twice."""
    yield depth, path, module
    for name, child in module._modules.items():
        if child is not None:
            yield from _walk(child, name, depth + 1)


def _tensor(name: str, t: Any, note: str) -> str:
    shape = " × ".join(map(str, t.shape)) or "number"
    return f"{escape(name)}: {shape}{f' ({note})' if note else ''}"


def _row(cells: list[str], tag: str = "td") -> str:
    styles = [_CELL] * (len(cells) - 1) + [_NUMBER]
    inside = "".join(f'<{tag} style="{style}">{cell}</{tag}>' for cell, style in zip(cells, styles, strict=True))
    return f"<tr>{inside}</tr>\n"


def summary(module: Any) -> str:
    """An HTML table with a row for each module below and including `module`, and the totals.

    Parameters that stand in several places are counted where they come first, and marked in the others. Buffers are
    shown and not counted.
    """
    seen: set[int] = set()
    rows, total, trainable = [], 0, 0
    for depth, name, m in _walk(module, "", 0):
        lines, number = [], 0
        for key, p in m._parameters.items():
            if p is None:
                continue
            note = "shared" if id(p) in seen else "" if p.requires_grad else "frozen"
            lines.append(_tensor(key, p, note))
            if id(p) not in seen:
                seen.add(id(p))
                number += p.numel()
                trainable += p.numel() if p.requires_grad else 0
        lines += [_tensor(key, b, "buffer") for key, b in m._buffers.items() if b is not None]
        total += number
        indent = "&nbsp;" * (4 * (depth - 1)) if depth else ""
        settings = escape(m.extra_repr()).replace("\n", "<br>")
        kind = f"<code>{escape(m._get_name())}</code>"
        rows.append(_row([indent + escape(name), kind, settings, "<br>".join(lines), f"{number:,}" if number else ""]))
    head = _row(["layer", "type", "settings", "parameters", "number"], "th")
    frozen = f", {total - trainable:,} frozen" if total > trainable else ""
    foot = f'<tr><th colspan="5" style="{_NUMBER}">{total:,} parameters: {trainable:,} trainable{frozen}</th></tr>\n'
    return f"<table>\n<thead>\n{head}</thead>\n<tbody>\n{''.join(rows)}</tbody>\n<tfoot>\n{foot}</tfoot>\n</table>"
