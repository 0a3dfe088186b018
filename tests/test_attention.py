"""`MultiheadAttention` and the Transformer beside PyTorch's: text, state, values, weights, gradients, dropout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import unspool
import unspool.nn
from beside_torch import agree

RNG = np.random.default_rng(4)
L, S, N, E = 5, 6, 3, 8
Q, K, V = (RNG.normal(size=shape) for shape in ((L, N, E), (S, N, E), (S, N, E)))
PADDING = np.zeros((N, S), bool)
PADDING[0, 4:] = PADDING[2, 5:] = True
FORBIDDEN = RNG.uniform(size=(L, S)) < 0.3
FORBIDDEN[:, 0] = False
NUMBERS = RNG.normal(size=(N * 2, L, S))


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value.detach().numpy().copy() if hasattr(value, "detach") else value


def shown(m: Any, make: Callable[[Any], Any], inputs: Any, options: Callable[[Any], dict[str, Any]]) -> list[Any]:
    """Text, state, outputs and gradients in training, and the outputs in evaluation."""
    m.manual_seed(1)
    net = make(m).double()
    tensors = [m.tensor(x, requires_grad=True) for x in inputs]
    seen: list[Any] = [repr(net), dict(net.state_dict())]
    out = net(*tensors, **options(m))
    y = out[0] if isinstance(out, tuple) else out
    total = (y * m.arange(y.numel()).reshape(y.shape)).sum()
    if isinstance(out, tuple) and out[1] is not None:
        total = total + (out[1] * out[1]).sum()
    total.backward()
    seen += [out if isinstance(out, tuple) else [out], [x.grad for x in tensors], [p.grad for p in net.parameters()]]
    net.eval()
    out = net(*tensors, **options(m))
    seen.append(out if isinstance(out, tuple) else [out])
    return list(plain(seen))


def mha(*args: Any, **kwargs: Any) -> Callable[[Any], Any]:
    return lambda m: m.nn.MultiheadAttention(E, 2, *args, **kwargs)


def no(m: Any) -> dict[str, Any]:
    return {}


QKV = (Q, K, V)
TURNED = tuple(x.transpose(1, 0, 2) for x in QKV)
ATTENTION: list[tuple[Callable[[Any], Any], Any, Callable[[Any], dict[str, Any]]]] = [
    (mha(), QKV, no),
    (mha(), QKV, lambda m: {"need_weights": False}),
    (mha(), QKV, lambda m: {"average_attn_weights": False}),
    (mha(0.3), QKV, no),
    (mha(0.3), QKV, lambda m: {"need_weights": False}),
    (mha(bias=False, batch_first=True), TURNED, no),
    (mha(add_bias_kv=True, add_zero_attn=True), QKV, lambda m: {"key_padding_mask": m.tensor(PADDING)}),
    (mha(kdim=3, vdim=5), (Q, K[..., :3], V[..., :5]), no),
    (mha(), tuple(x[:, 0] for x in QKV), lambda m: {"attn_mask": m.tensor(FORBIDDEN)}),
    (mha(), tuple(x[:, 0] for x in QKV), lambda m: {"need_weights": False, "key_padding_mask": m.tensor(PADDING[0])}),
    *[
        (
            mha(),
            QKV,
            lambda m, w=w: {
                "attn_mask": m.tensor(FORBIDDEN), "key_padding_mask": m.tensor(PADDING), "need_weights": w,
            },
        )
        for w in (False, True)
    ],
    *[
        (
            mha(),
            QKV,
            lambda m, w=w: {
                "attn_mask": m.tensor(NUMBERS),
                "key_padding_mask": m.tensor(np.where(PADDING, -1.0, 0.5)),
                "need_weights": w,
            },
        )
        for w in (False, True)
    ],
    *[
        (
            mha(),
            (Q, Q * 0.5, Q),
            lambda m, w=w: {
                "attn_mask": m.nn.Transformer.generate_square_subsequent_mask(L, dtype=m.float64),
                "is_causal": True,
                "need_weights": w,
            },
        )
        for w in (False, True)
    ],
]  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("i", range(len(ATTENTION)))
def test_attention_of_several_heads_is_pytorchs(i: int, torch: Any) -> None:
    make, inputs, options = ATTENTION[i]
    agree(shown(unspool, make, inputs, options), shown(torch, make, inputs, options), "")


def causal(m: Any) -> Any:
    return m.nn.Transformer.generate_square_subsequent_mask(L, dtype=m.float64)


def layer(m: Any, kind: str = "Encoder", **kwargs: Any) -> Any:
    return getattr(m.nn, f"Transformer{kind}Layer")(E, 2, 7, **kwargs)


TRANSFORMERS: list[tuple[Callable[[Any], Any], Any, Callable[[Any], dict[str, Any]]]] = [
    (lambda m: layer(m), (Q,), no),
    (lambda m: layer(m, dropout=0.4, activation="gelu"), (Q,), no),
    (
        lambda m: layer(m, norm_first=True, bias=False, batch_first=True),
        (Q,),
        lambda m: {"src_mask": causal(m)[:N, :N]},
    ),
    (
        lambda m: layer(m, activation=m.nn.Tanh(), dropout=0.0),
        (Q,),
        lambda m: {"src_mask": causal(m), "is_causal": True},
    ),
    (lambda m: layer(m), (K,), lambda m: {"src_key_padding_mask": m.tensor(PADDING)}),
    (lambda m: m.nn.TransformerEncoder(layer(m), 2, m.nn.LayerNorm(E), enable_nested_tensor=False), (Q,), no),
    (
        lambda m: m.nn.TransformerEncoder(layer(m, batch_first=True), 2, enable_nested_tensor=False),
        (Q.transpose(1, 0, 2),),
        lambda m: {"mask": causal(m)},
    ),
    (lambda m: layer(m, "Decoder"), (Q, K), no),
    (
        lambda m: m.nn.TransformerDecoder(layer(m, "Decoder", norm_first=True, dropout=0.2), 2),
        (Q, K),
        lambda m: {"tgt_mask": causal(m), "memory_key_padding_mask": m.tensor(PADDING)},
    ),
    (lambda m: m.nn.Transformer(E, 2, 1, 2, 7), (K, Q), lambda m: {"tgt_mask": causal(m)}),
    (lambda m: m.nn.Transformer(E, 2, 1, 1, 7, batch_first=True, dropout=0.0), (Q, Q * 2), no),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("i", range(len(TRANSFORMERS)))
def test_a_transformer_is_pytorchs(i: int, torch: Any) -> None:
    make, inputs, options = TRANSFORMERS[i]
    agree(shown(unspool, make, inputs, options), shown(torch, make, inputs, options), "")


BAD: list[Callable[[Any, Any, Any], Any]] = [
    lambda m, a, q: m.nn.MultiheadAttention(5, 2),
    lambda m, a, q: m.nn.MultiheadAttention(0, 2),
    lambda m, a, q: a(q, q, q, is_causal=True),
    lambda m, a, q: a(q, q, q, attn_mask=m.ones(L, L + 1)),
    lambda m, a, q: a(q, q, q, attn_mask=m.ones(N, L, L)),
    lambda m, a, q: a(q, q[:, :2], q),
    lambda m, a, q: a(q, q, q[:, 0]),
    lambda m, a, q: a(q[..., :4], q, q),
    lambda m, a, q: a(q, q, q, key_padding_mask=m.ones((L, N), dtype=m.bool)),
    lambda m, a, q: a(q, q, q, key_padding_mask=m.ones((N, L), dtype=m.int64)),
    lambda m, a, q: m.nn.TransformerEncoderLayer(4, 2, 8, activation="tanh"),
    lambda m, a, q: m.nn.Transformer(E, 2, 1, 1, 7)(q, q[:, :2]),
    lambda m, a, q: m.nn.Transformer(E, 2, 1, 1, 7)(q[..., :4], q[..., :4]),
    lambda m, a, q: m.nn.functional.scaled_dot_product_attention(q, q, q, m.ones(L, L), is_causal=True),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("i", range(len(BAD)))
def test_a_bad_call_raises_pytorchs_kind(i: int, torch: Any) -> None:
    def call(m: Any) -> None:
        BAD[i](m, m.nn.MultiheadAttention(E, 2), m.tensor(Q, dtype=m.float32))

    with pytest.raises(Exception) as reference:  # noqa: PT011 - its type is what is asked for
        call(torch)
    with pytest.raises(reference.type):
        call(unspool)


def test_an_encoder_learns_to_copy() -> None:
    """A whole training step through the batch-first encoder lowers the loss."""
    unspool.manual_seed(0)
    net = unspool.nn.TransformerEncoder(layer(unspool, batch_first=True, dropout=0.0), 2)
    x = unspool.tensor(Q, dtype=unspool.float32)
    optimizer = unspool.optim.Adam(net.parameters(), 1e-2)
    losses = []
    for _ in range(20):
        loss = unspool.nn.functional.mse_loss(net(x), x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
