"""Attention; `functional` gives it its public names."""

from __future__ import annotations

import math
from typing import Any

from unspool import _core
from unspool._precision import in_lower_precision
from unspool.nn._dropouts import dropout

__all__ = ["scaled_dot_product_attention"]


def _bias(attn_mask: Any, query: Any, shape: tuple[int, int], is_causal: bool) -> Any:
    """What is added to the scores: 0 where attention is allowed, -inf where not, or the mask's own numbers."""
    if is_causal:
        if attn_mask is not None:
            raise RuntimeError("scaled_dot_product_attention: attn_mask must be None where is_causal=True")
        attn_mask = _core.ones(shape, dtype=_core.bool).tril()
    if attn_mask is None:
        return None
    if attn_mask.dtype == _core.bool:
        return _core.where(attn_mask, 0.0, float("-inf")).to(query.dtype)
    if attn_mask.dtype != query.dtype:
        raise RuntimeError(
            f"scaled_dot_product_attention: attn_mask must be bool or of query's dtype {query.dtype}, "
            f"got {attn_mask.dtype}"
        )
    return attn_mask


@in_lower_precision
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
    """softmax(q·kᵀ · scale + mask)·v. (Vaswani et al., 2017)

    Args:
        query, key, value: (…, L, E), (…, S, E) and (…, S, Ev); the result is (…, L, Ev).
        attn_mask: (…, L, S): true where attention is allowed, or numbers that are added.
        dropout_p: the probability with which weights are dropped; always applied, whatever the mode.
        is_causal: allow position i the keys 0 … i.
        scale: 1 / √E if left out.
        enable_gqa: repeat the heads (dim -3) of key and value to those of query.
    """
    for name, t in (("query", query), ("key", key), ("value", value)):
        if t.dim() < 2:
            raise RuntimeError(
                f"scaled_dot_product_attention: {name} needs at least 2 dimensions, got shape {tuple(t.shape)}"
            )
        if t.dtype != query.dtype:
            raise RuntimeError(
                f"scaled_dot_product_attention: query, key and value must have one dtype, got {query.dtype} and "
                f"{t.dtype} of {name}"
            )
    bias = _bias(attn_mask, query, (query.shape[-2], key.shape[-2]), is_causal)
    kept = query.dtype
    if kept.itemsize == 2:  # scores overflow float16, and a bfloat16 one is off by up to 1/256 of it
        query, key, value = query.float(), key.float(), value.float()
    if enable_gqa:
        heads = query.shape[-3]
        key, value = (t.repeat_interleave(heads // t.shape[-3], -3) for t in (key, value))
    factor = math.sqrt(1.0 / math.sqrt(query.shape[-1]) if scale is None else abs(scale))
    signed = -factor if scale is not None and scale < 0 else factor
    # half of the scale on either side keeps the products small: (L×E)·(E×S) → (L×S)
    scores = (query * signed) @ (key * factor).transpose(-2, -1)
    weights = _safe_softmax(scores if bias is None else scores + bias, bias is not None)
    if dropout_p > 0.0:
        weights = dropout(weights, dropout_p, True)
    y = (weights @ value).to(kept)  # (L×S)·(S×Ev) → (L×Ev)
    if y.dim() == 4 and not dropout_p:
        _core._show_as(y, _FLASH)
    return y


_FLASH = _core._number_of_name("ScaledDotProductFlashAttentionForCpuBackward0")


def _safe_softmax(scores: Any, masked: bool) -> Any:
    """softmax over the last dim; a row that is all -inf, which may attend to nothing, gives 0."""
    weights = _core.softmax(scores, -1)
    if not masked:
        return weights
    nothing = (scores.detach() == float("-inf")).all(-1, keepdim=True)
    if not _core._capturing() and not nothing.any():
        return weights
    return _core.where(nothing, 0.0, _core.softmax(_core.where(nothing, 0.0, scores), -1))
