"""Attention of several heads; `functional` gives its public name. Bool masks here are true where it is forbidden."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from unspool import _core
from unspool.nn._attention import scaled_dot_product_attention
from unspool.nn._dropouts import dropout

__all__ = ["multi_head_attention_forward"]

_NAME = "multi_head_attention_forward"

# What sees, and may replace, what each of the four linear maps gives: called with 'q', 'k', 'v' or 'out_proj', x and y.
watcher: ContextVar[Callable[[str, Any, Any], Any] | None] = ContextVar("watcher", default=None)


def _linear(name: str, x: Any, weight: Any, bias: Any) -> Any:
    y, watch = _core.linear(x, weight, bias), watcher.get()
    return y if watch is None else watch(name, x, y)


def added_mask(mask: Any, name: str, dtype: Any) -> Any:
    """A mask as numbers to add: -inf where a bool one is true; a floating one as it is."""
    if mask is None:
        return None
    if mask.dtype == _core.bool:
        return _core.zeros(mask.shape, dtype=dtype).masked_fill(mask, float("-inf"))
    if not mask.is_floating_point():
        raise AssertionError(f"{_NAME}: {name} must be bool or floating, got {mask.dtype}")
    return mask


def _check_shapes(query: Any, key: Any, value: Any, key_padding_mask: Any, attn_mask: Any, heads: int) -> bool:
    """Whether the input has a batch dim."""
    dims = query.dim()
    if dims not in (2, 3):
        raise AssertionError(f"{_NAME}: query must be unbatched 2-D or batched 3-D, got {dims}-D")
    if key.dim() != dims or value.dim() != dims:
        raise AssertionError(f"{_NAME}: key and value must be {dims}-D as query is, got {key.dim()} and {value.dim()}")
    if key_padding_mask is not None and key_padding_mask.dim() != dims - 1:
        raise AssertionError(f"{_NAME}: key_padding_mask must be {dims - 1}-D, got {key_padding_mask.dim()}-D")
    if attn_mask is not None:
        if attn_mask.dim() not in (2, 3):
            raise AssertionError(f"{_NAME}: attn_mask must be 2-D or 3-D, got {attn_mask.dim()}-D")
        length, source = query.shape[0], key.shape[0]
        count = (query.shape[1] if dims == 3 else 1) * heads
        wanted = (length, source) if attn_mask.dim() == 2 else (count, length, source)
        if tuple(attn_mask.shape) != wanted:
            raise RuntimeError(f"{_NAME}: attn_mask has shape {tuple(attn_mask.shape)}, but should be {wanted}")
    return bool(dims == 3)


def _projected(
    query: Any, key: Any, value: Any, whole: Any, parts: tuple[Any, Any, Any] | None, bias: Any
) -> tuple[Any, Any, Any]:
    """query, key and value through their weights: three of their own, or the thirds of one."""
    weights = whole.chunk(3) if parts is None else parts
    biases = (None, None, None) if bias is None else bias.chunk(3)
    q, k, v = (_linear(*args) for args in zip("qkv", (query, key, value), weights, biases, strict=True))
    return q, k, v


def _longer(mask: Any) -> Any:
    """A mask with one more key, which is allowed."""
    return None if mask is None else _core.cat([mask, _core.zeros((*mask.shape[:-1], 1), dtype=mask.dtype)], -1)


def _attended(
    q: Any, k: Any, v: Any, mask: Any, heads: int, dropout_p: float, need_weights: bool, causal: bool
) -> tuple[Any, Any]:
    """What N·heads heads give, (N·heads, L, D), and, where needed, their weights as (N, heads, L, S)."""
    count, length, size = q.shape
    n, source = count // heads, k.shape[1]
    if need_weights:
        scores = (q * math.sqrt(1.0 / size)) @ k.transpose(-2, -1)  # (L×D)·(D×S) → (L×S)
        weights = dropout(_core.softmax(scores if mask is None else scores + mask, -1), dropout_p, True)
        return weights @ v, weights.reshape(n, heads, length, source)  # (L×S)·(S×D) → (L×D)
    if mask is not None and mask.dim() == 3 and mask.shape[0] != 1:
        mask = mask.reshape(n, heads, -1, source)
    q, k, v = (t.reshape(n, heads, -1, size) for t in (q, k, v))
    return scaled_dot_product_attention(q, k, v, mask, dropout_p, causal).reshape(count, length, size), None


def multi_head_attention_forward(
    query: Any,
    key: Any,
    value: Any,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Any,
    in_proj_bias: Any,
    bias_k: Any,
    bias_v: Any,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Any,
    out_proj_bias: Any,
    training: bool = True,
    key_padding_mask: Any = None,
    need_weights: bool = True,
    attn_mask: Any = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Any = None,
    k_proj_weight: Any = None,
    v_proj_weight: Any = None,
    static_k: Any = None,
    static_v: Any = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Any, Any]:
    """What `nn.MultiheadAttention` computes, from its parameters; inputs are (L, N, E) or (L, E)."""
    batched = _check_shapes(query, key, value, key_padding_mask, attn_mask, num_heads)
    if not batched:
        query, key, value = query.unsqueeze(1), key.unsqueeze(1), value.unsqueeze(1)
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    length, n, width = query.shape
    if is_causal and attn_mask is None:
        raise RuntimeError(f"{_NAME}: is_causal=True is a hint about attn_mask, which must be given")
    if width != embed_dim_to_check:
        raise AssertionError(f"{_NAME}: was expecting embedding dimension of {embed_dim_to_check}, but got {width}")
    if width % num_heads:
        raise AssertionError(f"{_NAME}: embed_dim {width} not divisible by num_heads {num_heads}")
    sizes = slice(0, 2) if use_separate_proj_weight else slice(0, 3)
    if tuple(key.shape[sizes]) != tuple(value.shape[sizes]):
        raise AssertionError(f"{_NAME}: key shape {tuple(key.shape)} does not match value shape {tuple(value.shape)}")
    if key_padding_mask is not None and tuple(key_padding_mask.shape) != (n, key.shape[0]):
        raise AssertionError(
            f"{_NAME}: expected key_padding_mask of shape {(n, key.shape[0])}, got {tuple(key_padding_mask.shape)}"
        )
    padding = added_mask(key_padding_mask, "key_padding_mask", query.dtype)
    is_causal = is_causal and padding is None
    mask = None if is_causal and not need_weights else added_mask(attn_mask, "attn_mask", query.dtype)

    own = (q_proj_weight, k_proj_weight, v_proj_weight) if use_separate_proj_weight else None
    q, k, v = _projected(query, key, value, in_proj_weight, own, in_proj_bias)
    if bias_k is not None and bias_v is not None:
        k, v = _core.cat([k, bias_k.repeat(1, n, 1)]), _core.cat([v, bias_v.repeat(1, n, 1)])
        mask, padding = _longer(mask), _longer(padding)
    size = width // num_heads
    q = q.reshape(length, n * num_heads, size).transpose(0, 1)
    k = k.reshape(-1, n * num_heads, size).transpose(0, 1) if static_k is None else static_k
    v = v.reshape(-1, n * num_heads, size).transpose(0, 1) if static_v is None else static_v
    if add_zero_attn:
        nothing = _core.zeros((n * num_heads, 1, size), dtype=k.dtype)
        k, v = _core.cat([k, nothing], 1), _core.cat([v, nothing], 1)
        mask, padding = _longer(mask), _longer(padding)
    source = k.shape[1]
    if padding is not None:
        padding = padding.reshape(n, 1, 1, source).expand(n, num_heads, 1, source).reshape(-1, 1, source)
        mask = padding if mask is None else mask + padding
    dropout_p = dropout_p if training else 0.0
    causal = is_causal and mask is None
    y, weights = _attended(q, k, v, mask, num_heads, dropout_p, need_weights, causal)
    if weights is not None and average_attn_weights:
        weights = weights.mean(1)
    y = _linear("out_proj", y.transpose(0, 1).reshape(length, n, width), out_proj_weight, out_proj_bias)
    if not batched:
        y, weights = y.squeeze(1), None if weights is None else weights.squeeze(0)
    return y, weights
