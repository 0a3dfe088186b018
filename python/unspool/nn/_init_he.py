"""`he_`: He's initialisation of a whole model, each layer with the gain of the activation that it reads."""

from __future__ import annotations

from math import isfinite, sqrt
from textwrap import fill, indent
from typing import Any, NamedTuple

from unspool.autograd.grad_mode import no_grad
from unspool.nn import init
from unspool.nn._init_gain import name_of, passes_factors, second_moment, text_of
from unspool.nn._init_layers import biases, forward, only_whole, watched, weights
from unspool.nn._init_reads import Input, Read, by_order, traced

__all__ = ["drawn", "he_"]

_FANS = {"fan_in": "fan_in", "fan_out": "fan_out", "fan_avg": "((fan_in + fan_out) / 2)"}
_WIDTH = 79


class _Row(NamedTuple):
    """A weight that was drawn."""

    path: str
    reads: str
    fans: tuple[int, int]
    square: float
    variance: float


def he_(
    model: Any,
    batch: Any = None,
    *,
    mode: str = "fan_in",
    distribution: str = "normal",
    explain: bool = False,
    generator: Any = None,
) -> Any:
    """Draw all weights of a model with variance gain² / fan, and make the biases 0. (He et al., 2015)

    A layer that reads φ(z) gets the gain of the activation φ, gain² = 1 / E[φ(z)²] for z ~ N(0, 1), integrated
    numerically (`integrated_gain`): 2 for ReLU, 2.536 for tanh, 1 for SELU. A layer that reads the data, or what a
    layer or a normalisation gives, has gain 1. But where all activations pass factors on, as ReLU and LeakyReLU do,
    the layers that read the data get the gain of the activation behind them, as He et al. give it to every layer.
    Of GELU, SiLU and Mish a small deviation from variance 1 grows by 14, 17 and 8 % a layer; `lsuv_` corrects it.
    Linear layers are initialised, convolutions, and attention, whose queries, keys and values have three weights with
    their own fans; normalisation and embeddings stay as they are.

    Args:
        model: a module. Without `batch` it must be made of Sequentials, whose order tells what each layer reads.
        batch: an input, or a tuple of them, for one forward pass in which the layers are followed, functions such as
            `F.relu` included; for what is still unknown (sums, say) E[h²] is measured on it, layer after layer.
        mode: 'fan_in', 'fan_out' or 'fan_avg', (fan_in + fan_out) / 2.
        distribution: 'normal' or 'uniform'.
        explain: whether to print where the formula comes from, and what each weight got.
        generator: draws from it instead of the default one.

    Returns: the model.

    Raises:
        TypeError: the model is no module, or there is no tensor in the batch.
        ValueError: an unknown mode or distribution, a model without layers, one whose order only a batch can tell, a
            layer that the batch does not reach, a batch that is empty or not finite. The model stays as it was.
    """
    for name, value, known in (("mode", mode, _FANS), ("distribution", distribution, ("normal", "uniform"))):
        if value not in known:
            raise ValueError(f"he_: {name} must be one of {', '.join(map(repr, known))}, got {value!r}")
    reads, gives = by_order(model, "he_") if batch is None else traced(model, batch, "he_")
    squares = _squares(reads, gives)
    rows: list[_Row] = []

    def draw(read: Read, square: float) -> None:
        for part, weight in weights(read.layer):
            own = 1.0 if part == ".out" else square
            variance = own / init._calculate_correct_fan(weight, mode)
            drawn(weight, sqrt(variance), distribution, generator)
            fans = init._calculate_fan_in_and_fan_out(weight)
            rows.append(_Row(read.path + part, _said(read.input), fans, own, variance))
        for bias in biases(read.layer):
            init.zeros_(bias)

    with only_whole(model, generator), no_grad():
        if None in squares:
            _draw_measured(model, batch, reads, squares, draw)
        else:
            for read, square in zip(reads, squares, strict=True):
                draw(read, square)
    if explain:
        print(_explanation(reads, rows, mode, distribution))
    return model


def drawn(weight: Any, std: float, distribution: str = "normal", generator: Any = None) -> None:
    """Fill a weight with draws of mean 0."""
    if distribution == "normal":
        init.normal_(weight, 0.0, std, generator)
    else:
        init.uniform_(weight, -sqrt(3.0) * std, sqrt(3.0) * std, generator)


def _squares(reads: list[Read], gives: Input) -> list[Any]:
    """gain² of each layer; None where it is to be measured."""
    chains = [x.chain for x in (*(read.input for read in reads), gives) if x.chain]
    alike = bool(chains) and all(map(passes_factors, dict.fromkeys(chains)))
    behind = [*(read.input for read in reads[1:]), gives]
    squares: list[Any] = []
    for read, after in zip(reads, behind, strict=True):
        x = read.input
        if x.of == "data" and not x.chain and alike:
            x = after
        squares.append(None if x.of == "unknown" else _square(x.chain))
    return squares


def _square(chain: tuple[Any, ...]) -> float:
    if not chain:
        return 1.0
    moment = second_moment(chain)
    if not isfinite(moment) or moment <= 0:
        raise ValueError(f"he_: E[φ(z)²] must be positive and finite, it is {moment} of {name_of(chain)}")
    return 1.0 / moment


def _draw_measured(model: Any, batch: Any, reads: list[Read], squares: list[Any], draw: Any) -> None:
    """Draw in a forward pass, in which each layer reads what those before it, initialised already, make."""
    pending = {id(read.layer): (read, square) for read, square in zip(reads, squares, strict=True)}

    def before(module: Any, args: Any, kwargs: Any) -> None:
        read, square = pending.pop(id(module), (None, None))
        if read is None:
            return
        if square is None:
            h = args[0] if args else next(iter(kwargs.values()))
            moment = h.detach().double().square().mean().item()
            if not isfinite(moment) or moment <= 0:
                raise ValueError(f"he_: layer {read.path!r} reads numbers of mean square {moment} on the batch")
            square = 1.0 / moment
        draw(read, square)

    with watched(model) as hooks:
        for read in reads:
            hooks.append(read.layer.register_forward_pre_hook(before, with_kwargs=True))
        forward(model, batch, "he_")


def _said(x: Input) -> str:
    if x.chain:
        return name_of(x.chain)
    return {"data": "the data", "unit": "variance 1", "sum": "a sum", "unknown": "measured"}[x.of]


def _explanation(reads: list[Read], rows: list[_Row], mode: str, distribution: str) -> str:
    """Where the numbers come from; no line is longer than 80 characters."""
    fan = _FANS[mode]
    shape = "N(0, Var W)" if distribution == "normal" else "U(-√(3 Var W), √(3 Var W))"
    paragraphs = [
        f"he_: weights from {shape}, Var W = gain² / {fan}; biases 0.",
        "A layer adds up D = fan_in products of a weight and a number h that it reads. Weights have the mean 0 and "
        "depend neither on each other nor on h, so that Var f = D · Var W · E[h²]. What it reads is h = φ(z), where "
        "φ is the activation before it and z what the layer before gave. So Var f = Var z, and the signal neither "
        "vanishes nor explodes, where Var W = gain² / D with gain² = Var z / E[φ(z)²].",
    ]
    if mode != "fan_in":
        paragraphs.append(
            "Backward a gradient is a sum over fan_out weights, which asks for gain² / fan_out. fan_avg takes the mean "
            "of both fans: with gain² = 2, Var W = 4 / (D + D')."
        )
    chains = dict.fromkeys(read.input.chain for read in reads if read.input.chain)
    paragraphs += [text_of(chain) for chain in {name_of(chain): chain for chain in chains}.values()]
    kinds = {read.input.of for read in reads if not read.input.chain}
    if any(row.reads == "the data" and row.square != 1 for row in rows):
        paragraphs.append(
            "the data: no activation comes before it. All activations here pass a factor on, so that the scale of the "
            "first layer does no harm, and He et al. (2015) give it the same 2 as the others."
        )
    elif "data" in kinds:
        paragraphs.append("the data: no activation comes before it; E[x²] = 1 is taken for granted, so gain² = 1.")
    if "unit" in kinds:
        paragraphs.append("variance 1: what a normalisation, an embedding or a layer gives; gain² = 1.")
    if "sum" in kinds:
        paragraphs.append("a sum: a residual block adds variances; gain² = 1 here, and a batch= would be measured.")
    if "unknown" in kinds:
        paragraphs.append("measured: gain² = 1 / E[h²], the mean of h² over the batch.")
    lines = [f"{'layer':26}  {'reads':15} {'fan_in':>7} {'fan_out':>7} {'gain²':>8} {'Var W':>10}"]
    for path, said, (fan_in, fan_out), square, variance in rows:
        name = _short(path or "(the model)", 26)
        lines.append(f"{name:26}  {_short(said, 15):15} {fan_in:7} {fan_out:7} {square:8.4f} {variance:10.3e}")
    text = [fill(paragraphs[0], _WIDTH), *(indent(fill(p, _WIDTH - 2), "  ") for p in paragraphs[1:])]
    return "\n\n".join([*text, "\n".join(lines)])


def _short(text: str, width: int) -> str:
    return text if len(text) <= width else "…" + text[1 - width :]
