"""A report as text of at most 80 columns, and as HTML."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from html import escape
from typing import Any

from unspool.diagnose.columns import WIDTH, clipped, columns, padded, wrapped

__all__ = ["fragment", "page", "printed", "text", "verdict_label"]

_MOST_ROWS = 40
_MOST_ALIKE = 2  # findings of a kind that are told in full
_COLORS = {"error": "#b2182b", "warning": "#b35806", "info": "#2166ac"}
_HEAD = ("layer", "fans", "next", "Var w/aim", "Var z", "Var g", "idle", "grad/w", "rank")
_MOST = (10, 11, 10, 8, 8, 5, 8, 7)  # columns of all but the first, which has the rest


def _number(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "-"
    return f"{value:.2g}"


def _share(value: float) -> str:
    return f"{value:.0%}" if value else "-"


def _rows(report: Any) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for x in report.layers:
        idle = x.dead if x.activation.near is None else x.saturated
        rows.append(
            (
                x.path or "(model)",
                f"{x.fan_in}→{x.fan_out}",
                x.activation.name,
                _number(x.weight_var / x.weight_target),
                _number(x.z.variance),
                _number(None if x.gradient is None else x.gradient.variance),
                _share(idle),
                _number(x.gradient_ratio),
                "-" if x.h is None or x.h.rank is None else f"{x.h.rank:.1f}",
            )
        )
    return rows


def _summary(report: Any) -> str:
    loss = "" if report.loss is None else f", loss {report.loss:.4g}"
    state = "healthy" if report.healthy else "not healthy"
    layers = f"{len(report.layers)} linear layer{'s' * (len(report.layers) > 1)}"
    return f"{report.model}: {state}; {layers}, {report.parameters:,} parameters{loss}"


def verdict_label(report: Any, verdict: Any) -> str:
    """The verdict's label; 'no verdict' where fewer than two layers of a chain have a variance."""
    return "no verdict" if verdict.layers < 2 else str(verdict.label)


def _chains(report: Any) -> list[str]:
    out = []
    for name, verdict in (("forward", report.forward), ("backward", report.backward)):
        total = math.exp(max(min(verdict.total, 700.0), -700.0))
        known = f"{verdict.layers} of {len(report.facts.chain)} layers have a variance"
        if len(report.facts.chain) < 2:
            known = "a chain is two layers and more, without the last"
        label = verdict_label(report, verdict)
        if label == "no verdict":
            out.append(f"{name + ':':<9} {label}: {known}")
            continue
        cut = f"; {known}" if verdict.layers < len(report.facts.chain) else ""
        out.append(f"{name + ':':<9} {label}, Var × {verdict.factor:.3g} a layer, × {total:.3g} in all{cut}")
    return out


def _finding_lines(findings: list[Any]) -> Iterator[str]:
    """The first two of each kind in full, the layers of the rest."""
    alike: dict[tuple[str, str], list[Any]] = {}
    for f in findings:
        alike.setdefault((f.severity, f.kind), []).append(f)
    for group in alike.values():
        for f in group[:_MOST_ALIKE]:
            where = f" at {f.layer}" if f.layer else ""
            yield from wrapped(f"{f.severity}: {f.kind}{where}: {f.message}", "  ")
            if f.severity != "info":
                yield from wrapped(f"→ {f.remedy}", "    ", "  ")
        rest = ", ".join(f.layer for f in group[_MOST_ALIKE:])
        if rest:
            told, *more = wrapped(f"… {group[0].kind} also at {rest}", first="  ", width=WIDTH - 2)
            yield told + " …" * bool(more)


def _widths(rows: list[tuple[str, ...]]) -> list[int]:
    """What each column needs, a space behind it included; long paths get what the others leave."""
    needed = [max(map(columns, cells)) + 1 for cells in zip(*rows, strict=True)]
    others = [min(pair) for pair in zip(needed[1:], _MOST, strict=True)]
    return [min(needed[0], WIDTH - sum(others)), *others]


def text(report: Any) -> str:
    """The report in lines of at most 80 columns; long networks show their first and last layers."""
    lines = wrapped(_summary(report))
    for line in _chains(report):
        lines += wrapped(line, " " * 10)
    lines += _finding_lines(report.findings)
    rows = _rows(report)
    half = _MOST_ROWS // 2
    shown: list[tuple[str, ...] | None] = [*rows] if len(rows) <= _MOST_ROWS else [*rows[:half], None, *rows[-half:]]
    lines.append("")
    widths = _widths([_HEAD, *filter(None, shown)])
    for row in (_HEAD, *shown):
        if row is None:
            lines.append(f"… {len(rows) - _MOST_ROWS} more")
            continue
        cells = [clipped(c, w - 1) for c, w in zip(row, widths, strict=True)]
        line = "".join(
            padded(c, w) if i in (0, 2) else padded(c, w - 1, right=True) + " "
            for i, (c, w) in enumerate(zip(cells, widths, strict=True))
        )
        lines.append(line.rstrip())
    return "\n".join(lines)


def printed(report: Any) -> str:
    """What `print(report)` shows: the text, in colours where rich is installed and the output is a terminal."""
    plain = text(report)
    if not sys.stdout.isatty():
        return plain
    try:
        from rich.console import Console
        from rich.text import Text
    except ImportError:
        return plain
    shown = Text(plain)
    for severity, color in _COLORS.items():
        shown.highlight_regex(rf"(?m)^{severity}: \w+", f"bold {color}")
    console = Console(width=WIDTH, force_terminal=True)
    with console.capture() as capture:
        console.print(shown, end="")
    return str(capture.get())


def _table(report: Any) -> str:
    """Numbers keep to their lines, long paths break anywhere; what is still too wide is scrolled within the page."""
    rows = _rows(report)
    longest = min(max(len(row[0]) for row in rows), 14)
    left = "padding: 0.1em 0.7em; text-align: left"
    name, number = f"{left}; white-space: nowrap", "padding: 0.1em 0.7em; text-align: right; white-space: nowrap"
    styles = [f"{left}; overflow-wrap: anywhere; min-width: {longest}ch", number, name, *[number] * (len(_HEAD) - 3)]
    out = ['<div style="overflow-x: auto"><table><thead><tr>']
    out += [f'<th style="{style}">{escape(h)}</th>' for style, h in zip(styles, _HEAD, strict=True)]
    out.append("</tr></thead><tbody>")
    for row in rows:
        cells = (f'<td style="{style}">{escape(c)}</td>' for style, c in zip(styles, row, strict=True))
        out.append(f"<tr>{''.join(cells)}</tr>")
    return "\n".join([*out, "</tbody></table></div>"])


def _told(report: Any) -> str:
    out = [f"<p><b>{escape(_summary(report))}</b><br>{'<br>'.join(map(escape, _chains(report)))}</p>"]
    if report.findings:
        out.append("<ul>")
        for f in report.findings:
            where = f" at <code>{escape(f.layer)}</code>" if f.layer else ""
            out.append(
                f'<li style="margin-bottom: 0.5em"><b style="color: {_COLORS[f.severity]}">{f.severity}: '
                f"{escape(f.kind)}</b>{where}: {escape(f.message)}<br>→ <i>{escape(f.remedy)}</i></li>"
            )
        out.append("</ul>")
    return "\n".join(out)


def fragment(report: Any) -> str:
    """What a notebook shows: the summary, the findings and a table of the layers."""
    return f'<div style="overflow-wrap: anywhere">{_told(report)}\n{_table(report)}\n</div>'


def page(report: Any) -> str:
    """A whole HTML page, with the picture between the findings and the table, which may be long."""
    from unspool.diagnose.plot import svg

    title = escape(f"diagnosis of {report.model}")
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<style>body { font-family: sans-serif; max-width: 64em; margin: 2em auto; padding: 0 1em; "
        "overflow-wrap: anywhere } "
        "table { border-collapse: collapse; font-size: 0.9em } tbody tr:nth-child(odd) { background: #f4f4f4 } "
        ".picture { overflow-x: auto; margin: 1.5em 0 } "
        "svg { width: 100%; min-width: 40em; height: auto }</style></head>\n"
        f'<body><h1>{title}</h1>\n{_told(report)}\n<div class="picture">{svg(report)}</div>\n{_table(report)}\n'
        "</body></html>\n"
    )
