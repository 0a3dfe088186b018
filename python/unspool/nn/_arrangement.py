"""Padding, attention and Gumbel softmax, as compositions of native ops."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from unspool import _core

__all__ = ["gumbel_softmax", "pad", "scaled_dot_product_attention"]


def pad(input: Any, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Any:
    """The tensor with (left, right) more elements in the last dim, then in the one before, …; negative numbers cut.

    `mode`: "constant" fills with `value` (0), "reflect" and "replicate" mirror or repeat the edge, "circular" wraps.

    Raises:
        RuntimeError: an odd number of paddings, too many of them, or reflections longer than the dim.
    """
    widths = [int(n) for n in pad]
    if len(widths) % 2:
        raise RuntimeError(f"pad: Padding length must be divisible by 2, got {widths}")
    if len(widths) // 2 > input.dim():
        raise RuntimeError(
            f"pad: Padding length should be less than or equal to two times the input dimension but got padding length "
            f"{len(widths)} and input of dimension {input.dim()}"
        )
    if mode not in ("constant", "reflect", "replicate", "circular"):
        raise NotImplementedError(f"pad: Unrecognised padding mode {mode}")
    if mode != "constant" and value is not None and value != 0:
        raise ValueError(f'pad: padding mode "{mode}" doesn\'t take in value argument, got {value}')
    for k in range(len(widths) // 2):
        input = _one_dim(input, input.dim() - 1 - k, widths[2 * k], widths[2 * k + 1], mode, value or 0.0)
    return input.clone() if all(n == 0 for n in widths) else input


def _one_dim(x: Any, dim: int, left: int, right: int, mode: str, value: float) -> Any:
    n = x.shape[dim]
    if n + left + right < 0 or (mode != "constant" and n + left + right < 1):
        raise RuntimeError(f"pad: the padding ({left}, {right}) leaves no element of dim {dim} of size {n}")
    if mode == "constant":
        first, last = max(0, -left), n - max(0, -right)
        parts = [x.narrow(dim, first, max(0, last - first))]
        for at, width in ((0, left), (len(parts), right)):
            if width > 0:
                shape = [width if d == dim else size for d, size in enumerate(x.shape)]
                parts.insert(at if at == 0 else len(parts), _core.full(shape, value, dtype=x.dtype))
        return _core.cat(parts, dim) if len(parts) > 1 else parts[0]
    limit = {"reflect": n - 1, "circular": n}.get(mode)
    if limit is not None and max(left, right) > limit:
        raise RuntimeError(
            f"pad: Padding size should be at most {limit} in mode {mode!r}, but got padding "
            f"({left}, {right}) at dimension "
            f"{dim} of input {tuple(x.shape)}"
        )
    if mode == "circular":  # what is cut off does not come back at the other end
        x = x.narrow(dim, max(0, -left), n + min(left, 0) + min(right, 0))
        n, left, right = x.shape[dim], max(left, 0), max(right, 0)
    places = _core.arange(-left, n + right)
    if mode == "replicate":
        places = places.clamp(0, n - 1)
    elif mode == "circular":
        places = places % n
    else:
        places = (n - 1) - ((n - 1) - places.abs()).abs()
    return x.index_select(dim, places)


def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """softmax(query keyᵀ · scale + mask) value, of (…, L, E), (…, S, E) and (…, S, Ev); scale is 1/√E unless given.

    A bool mask tells which pairs take part; another one is added. `is_causal` lets row i see the columns up to i.

    Raises:
        RuntimeError: both a mask and is_causal, tensors of fewer than two dims, or of different dtypes.
    """
    for name, t in (("query", query), ("key", key), ("value", value)):
        if t.dim() < 2:
            raise RuntimeError(
                f"scaled_dot_product_attention: Expected {name} to be at least 2 dimensional, got {t.dim()}"
            )
        if t.dtype != query.dtype:
            raise RuntimeError(
                f"scaled_dot_product_attention: Expected query, key, and value to have the same "
                f"dtype, but got {name} of {t.dtype}"
            )
    if enable_gqa:
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], -3)
        value = value.repeat_interleave(query.shape[-3] // value.shape[-3], -3)
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    rows, columns = query.shape[-2], key.shape[-2]
    if is_causal:
        if attn_mask is not None:
            raise RuntimeError("scaled_dot_product_attention: Explicit attn_mask should not be set when is_causal=True")
        attn_mask = _core.ones(rows, columns, dtype=_core.bool).tril()
    scores = (query * math.sqrt(factor)) @ (key * math.sqrt(factor)).transpose(-2, -1)
    if attn_mask is not None:
        scores = scores.masked_fill(~attn_mask, -math.inf) if attn_mask.dtype == _core.bool else scores + attn_mask
    weights = scores.softmax(-1)
    if attn_mask is not None:  # a row that sees nothing gives 0
        weights = _core.where((scores == -math.inf).all(-1, True), _core.zeros_like(weights), weights)
    if dropout_p > 0.0:
        from unspool.nn._normalization import dropout

        weights = dropout(weights, dropout_p, True)
    return weights @ value


def gumbel_softmax(logits: Any, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1) -> Any:
    """softmax((logits + Gumbel noise) / tau): a relaxed draw; `hard` gives a one-hot draw with the relaxed gradient."""
    noise = -_core.empty_like(logits).exponential_().log()
    soft = ((logits + noise) / tau).softmax(dim)
    if not hard:
        return soft
    index = soft.max(dim, keepdim=True)[1]
    return _core.zeros_like(logits).scatter(dim, index, 1.0) - soft.detach() + soft
