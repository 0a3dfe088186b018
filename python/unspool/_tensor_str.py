"""How tensors print, to the character as PyTorch prints them.

Start at `tensor_repr`, which the native `Tensor.__repr__` calls. The values are read through NumPy; large
tensors are cut to their edges first, so that printing costs the same for any size. No tensor operation is
recorded here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unspool import _core

__all__ = ["get_printoptions", "set_printoptions", "tensor_repr"]

_DEFAULTS: dict[str, Any] = {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80, "sci_mode": None}
_PROFILES: dict[str, dict[str, Any]] = {
    "default": _DEFAULTS,
    "short": {**_DEFAULTS, "precision": 2, "edgeitems": 2},
    "full": {**_DEFAULTS, "threshold": float("inf")},
}
_options: dict[str, Any] = dict(_DEFAULTS)


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Set how tensors print; what is left at None keeps its value, except `sci_mode`, which goes back to automatic.

    Args:
        precision: digits after the point (4).
        threshold: tensors with more elements than this are shown by their edges (1000).
        edgeitems: how many entries at each edge (3).
        linewidth: characters a line (80).
        profile: 'default', 'short' or 'full', applied before the other arguments.
        sci_mode: always (True), never (False) or by the values (None).

    Raises:
        ValueError: the profile has another name.
    """
    if profile is not None:
        if profile not in _PROFILES:
            raise ValueError(f"set_printoptions: profile is {profile!r}; it must be one of {sorted(_PROFILES)}")
        _options.update(_PROFILES[profile])
    given = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems, "linewidth": linewidth}
    _options.update((k, v) for k, v in given.items() if v is not None)
    _options["sci_mode"] = sci_mode


def get_printoptions() -> dict[str, Any]:
    """A copy of the options in force."""
    return dict(_options)


class _Style:
    """One format for all entries of a tensor: how a number becomes text, and the width of the column."""

    __slots__ = ("kind", "spec", "width")

    def __init__(self, values: np.ndarray) -> None:
        self.width = 1
        if values.dtype.kind != "f":
            self.kind, self.spec = "plain", ""
            self.width = max([1, *(len(str(v)) for v in values.ravel().tolist())])
            return
        precision = _options["precision"]
        flat = values.astype(np.float64).ravel()
        shown = flat[np.isfinite(flat) & (flat != 0)]
        whole = bool(np.all(shown == np.ceil(shown)))
        if shown.size:
            size = np.abs(shown)
            low, high = float(size.min()), float(size.max())
            scientific = high / low > 1000.0 or high > 1e8 or (not whole and low < 1e-4)
            if _options["sci_mode"] is not None:
                scientific = _options["sci_mode"]
            self._choose(scientific, whole, precision)
            # a column is as wide as its widest finite non-zero number: nan, inf and 0 don't widen it
            self.width = max(1, *(len(self._text(v)) for v in shown.tolist()))
        else:
            self._choose(False, True, precision)

    def _choose(self, scientific: bool, whole: bool, precision: int) -> None:
        if scientific:
            self.kind, self.spec = "scientific", f".{precision}e"
        elif whole:
            self.kind, self.spec = "whole", ".0f"
        else:
            self.kind, self.spec = "fixed", f".{precision}f"

    def _text(self, value: Any) -> str:
        text = format(value, self.spec)
        # a whole float keeps its point ("3."), but inf and nan have none
        return text + "." if self.kind == "whole" and text[-1].isdigit() else text

    def __call__(self, value: Any) -> str:
        return self._text(value).rjust(self.width)


def _edges(a: np.ndarray, keep: int) -> np.ndarray:
    """The entries that a shortened print shows."""
    for axis, n in enumerate(a.shape):
        if n > 2 * keep:
            ends = [*range(keep), *range(n - keep, n)]
            a = a.take(ends, axis=axis)
    return a


def _row(a: np.ndarray, style: _Style, indent: int, shorten: bool) -> str:
    keep = _options["edgeitems"]
    if shorten and keep == 0:
        cells = ["..."]
    elif shorten and a.shape[0] > 2 * keep:
        cells = [style(v) for v in a[:keep].tolist()] + [" ..."] + [style(v) for v in a[-keep:].tolist()]
    else:
        cells = [style(v) for v in a.tolist()]
    per_line = max(1, (_options["linewidth"] - indent) // (style.width + 2))
    lines = [", ".join(cells[i : i + per_line]) for i in range(0, len(cells), per_line)]
    return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"


def _body(a: np.ndarray, style: _Style, indent: int, shorten: bool) -> str:
    if a.ndim == 0:
        return style(a.item())
    if a.ndim == 1:
        return _row(a, style, indent, shorten)
    keep = _options["edgeitems"]
    n = a.shape[0]
    if shorten and n > 2 * keep:
        parts = [_body(a[i], style, indent + 1, shorten) for i in range(keep)]
        parts.append("...")
        parts += [_body(a[i], style, indent + 1, shorten) for i in range(n - keep, n)]
    else:
        parts = [_body(a[i], style, indent + 1, shorten) for i in range(n)]
    return "[" + ("," + "\n" * (a.ndim - 1) + " " * (indent + 1)).join(parts) + "]"


def _with_suffixes(text: str, suffixes: list[str], indent: int) -> str:
    """Append `, suffix` for each suffix, on a new line where the line would grow too long."""
    used = len(text) - text.rfind("\n") + 1
    for suffix in suffixes:
        if used + len(suffix) + 2 > _options["linewidth"]:
            text += ",\n" + " " * indent + suffix
            used = indent + len(suffix)
        else:
            text += ", " + suffix
            used += len(suffix) + 2
    return text + ")"


def tensor_repr(t: Any) -> str:
    """The text of `repr(t)`: values, then size (empty tensors), dtype (unusual ones) and its place in the graph."""
    kind = type(t)
    lead = getattr(kind, "_repr_lead", None)
    head = "tensor(" if kind is _core.Tensor or lead is not None else f"{kind.__name__}("
    suffixes = []
    if t.numel() == 0:  # no array is made: NumPy has none of sizes such as (2**62, 0)
        body = "[]"
        if t.dim() != 1:
            suffixes.append(f"size={tuple(t.shape)}")
        usual = t.dtype == _core.get_default_dtype()
    else:
        a = (t.detach().float() if t.dtype in (_core.float16, _core.bfloat16) else t.detach()).numpy()
        shorten = a.size > _options["threshold"]
        style = _Style(_edges(a, _options["edgeitems"]) if shorten else a)
        body = _body(a, style, len(head), shorten)
        usual = t.dtype in (_core.get_default_dtype(), _core.int64, _core.bool)
    if not usual:
        suffixes.append(f"dtype={t.dtype}")
    if t.grad_fn is not None:
        suffixes.append(f"grad_fn=<{t.grad_fn.name()}>")
    elif t.requires_grad:
        suffixes.append("requires_grad=True")
    return (lead or "") + _with_suffixes(head + body, suffixes, len(head))
