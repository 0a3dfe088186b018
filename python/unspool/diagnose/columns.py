"""Text by the columns that a terminal gives it: CJK and emoji take two, combining marks none."""

from __future__ import annotations

import re
import unicodedata
from itertools import accumulate

__all__ = ["WIDTH", "clipped", "columns", "padded", "wrapped"]

WIDTH = 80


def columns(text: str) -> int:
    """How many columns `text` takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.category(c) in ("Mn", "Me", "Cf") else 1 + (unicodedata.east_asian_width(c) in ("W", "F"))
        for c in text
    )


def clipped(path: str, width: int) -> str:
    """The end of a path that is wider than `width`: there the layers differ."""
    if columns(path) <= width:
        return path
    ends = accumulate(columns(c) for c in reversed(path))
    return "…" + path[len(path) - sum(end < width for end in ends) :]


def padded(text: str, width: int, right: bool = False) -> str:
    """`text` with spaces up to `width` columns behind it, or in front of it."""
    spaces = " " * (width - columns(text))
    return spaces + text if right else text + spaces


def wrapped(text: str, rest: str = "", first: str = "", width: int = WIDTH) -> list[str]:
    """Lines of at most `width` columns; the first begins with `first`, the others with `rest`."""
    lines, begun = [first], False
    for word in re.sub(r"\s", " ", text).split(" "):
        word = f" {word}" if begun else word
        if columns(lines[-1] + word) > width >= columns(rest + word[begun:]):
            lines.append(rest)
            word = word[begun:]
        while columns(lines[-1] + word) > width:  # it fits no line
            fits = sum(end <= width - columns(lines[-1]) for end in accumulate(map(columns, word)))
            lines[-1] += word[:fits]
            lines.append(rest)
            word = word[fits:]
        lines[-1] += word
        begun = True
    return lines
