"""Losses of several inputs, and distances, beside PyTorch's: values, first and second gradients, refusals."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import unspool
import unspool.nn
from beside_torch import agree
from unspool.nn import functional as F

RNG = np.random.default_rng(1)
A, B, C = (RNG.normal(size=(6, 4)) for _ in range(3))
SIGNS = np.where(RNG.uniform(size=(6, 4)) < 0.5, -1.0, 1.0)
SIGN = SIGNS[:, 0]
LABELS = np.array([0, 3, 1, 2, 2, 0])
SETS = np.array([[0, 3, -1, 1], [-1, 0, 1, 2], [2, 2, 1, -1], [0, 1, 2, 3], [3, -1, -1, -1], [1, 0, -1, -1]])
CHANCES = RNG.uniform(size=(6, 4))
COUNTS = RNG.integers(0, 6, (6, 4)).astype(float)
VAR = RNG.uniform(0, 2, (6, 4))
VAR[0, 0] = 0.0
W = [0.5, 2.0, 1.0, 0.1]

_EACH: list[tuple[str, dict[str, Any], tuple[Any, ...]]] = [
    ("MarginRankingLoss", {"margin": 0.3}, (A, B, SIGNS)),
    ("CosineEmbeddingLoss", {"margin": 0.1}, (A, B, SIGN)),
    ("CosineEmbeddingLoss", {}, (A[0], B[0], np.array(-1.0))),
    ("HingeEmbeddingLoss", {}, (A, SIGNS)),
    ("HingeEmbeddingLoss", {"margin": 0.2}, (A, SIGNS * 0.5)),
    ("SoftMarginLoss", {}, (A, SIGNS)),
    ("MultiMarginLoss", {}, (A, LABELS)),
    ("MultiMarginLoss", {"p": 2, "margin": 0.6}, (A, LABELS)),
    ("MultiMarginLoss", {"p": 2}, (A[0], np.array(2))),
    ("MultiLabelMarginLoss", {}, (A, SETS)),
    ("MultiLabelMarginLoss", {}, (A[0], SETS[0])),
    ("MultiLabelSoftMarginLoss", {}, (A, CHANCES)),
    ("TripletMarginLoss", {}, (A, B, C)),
    ("TripletMarginLoss", {"p": 1.5, "margin": 0.4, "swap": True}, (A, B, C)),
    ("TripletMarginLoss", {}, (A[0], B[0], C[0])),
    ("TripletMarginWithDistanceLoss", {"swap": True}, (A, B, C)),
    ("PoissonNLLLoss", {}, (A, COUNTS)),
    ("PoissonNLLLoss", {"full": True}, (A, COUNTS)),
    ("PoissonNLLLoss", {"log_input": False}, (np.exp(A), COUNTS)),
    ("GaussianNLLLoss", {}, (A, B, VAR)),
    ("GaussianNLLLoss", {"full": True, "eps": 0.5}, (A, B, VAR)),
    ("GaussianNLLLoss", {}, (A, B, VAR[:, 1])),
    ("GaussianNLLLoss", {}, (A, B, VAR[:, 1:2])),
    ("GaussianNLLLoss", {}, (A, B, VAR[1:2])),
]
LOSSES: list[tuple[Callable[[Any], Any], tuple[Any, ...]]] = [
    *[
        (lambda m, name=name, options=options, reduction=r: getattr(m.nn, name)(**options, reduction=reduction), args)
        for name, options, args in _EACH
        for r in ("none", "mean", "sum")
    ],
    (lambda m: m.nn.MultiMarginLoss(weight=m.tensor(W, dtype=m.float64)), (A, LABELS)),
    (lambda m: m.nn.MultiLabelSoftMarginLoss(weight=m.tensor(W, dtype=m.float64)), (A, CHANCES)),
    (
        lambda m: m.nn.TripletMarginWithDistanceLoss(distance_function=lambda a, b: (a - b).abs().sum(-1), margin=3.0),
        (A, B, C),
    ),
    (lambda m: m.nn.CosineSimilarity(), (A, B)),
    (lambda m: m.nn.CosineSimilarity(0, 1.5), (A, B[0])),
    (lambda m: m.nn.CosineSimilarity(-1, 0.5), (A, 0.1 * B)),
    (lambda m: m.nn.PairwiseDistance(), (A, B)),
    (lambda m: m.nn.PairwiseDistance(1.0, keepdim=True), (A, B[0])),
    (lambda m: m.nn.PairwiseDistance(3.0, 0.5), (A, A)),
    (lambda m: lambda x: m.nn.functional.normalize(x, dim=0), (A,)),
    (lambda m: lambda x: m.nn.functional.normalize(x, 1.0, -1, eps=3.0), (A,)),
]
# PyTorch has no derivative of these by the target, or NaN where a count is 0.
_INPUT_ONLY = ("SoftMarginLoss", "PoissonNLLLoss")
# PyTorch has no second derivative of these.
_ONCE = ("MultiMarginLoss", "MultiLabelMarginLoss")


def behaviour(m: Any, make: Callable[[Any], Any], args: tuple[Any, ...]) -> list[Any]:
    """The text, the value, and the first and second gradient of every floating input."""
    loss = make(m)
    tensors = [m.tensor(a) for a in args]
    places = tensors[:1] if type(loss).__name__ in _INPUT_ONLY else tensors
    wanted = [t.requires_grad_() for t in places if t.is_floating_point()]
    y = loss(*tensors)
    weights = m.tensor(np.linspace(1, 2, y.numel()).reshape(tuple(y.shape)))
    first = m.autograd.grad((y * weights).sum(), wanted, create_graph=True, allow_unused=True)
    shown = [repr(loss) if isinstance(loss, m.nn.Module) else "", y.detach().numpy()]
    shown.append([None if g is None else g.detach().numpy() for g in first])
    curved = [g for g in first if g is not None and g.requires_grad]
    if curved and type(loss).__name__ not in _ONCE:
        total = sum((g * g).sum() for g in curved)
        second = m.autograd.grad(total, wanted, allow_unused=True)
        zeros = [np.zeros(tuple(x.shape)) for x in wanted]
        shown.append([z if h is None else h.numpy(force=True) for z, h in zip(zeros, second, strict=True)])
    return shown


@pytest.mark.parametrize("i", range(len(LOSSES)))
def test_a_loss_is_pytorchs(i: int, torch: Any) -> None:
    make, args = LOSSES[i]
    agree(behaviour(unspool, make, args), behaviour(torch, make, args), repr(make(unspool)))


def test_the_margins_own_kinks(torch: Any) -> None:
    """At the bound of the hinge, margins of pairs pass the gradient and margins over classes don't."""
    seen = []
    for m in (unspool, torch):
        F = m.nn.functional
        x = m.tensor([[1.0, 0.0, float("nan")], [0.0, 1.0, 1.0]], requires_grad=True)
        values = [
            F.multi_margin_loss(x, m.tensor([0, 1])),
            F.multilabel_margin_loss(x, m.tensor([[0, -1, 1], [1, -1, -1]])),
            F.margin_ranking_loss(x[1], x[1], m.ones(3), 0.0),
            F.hinge_embedding_loss(x[1], -m.ones(3)),
        ]
        seen.append([(v.item(), *m.autograd.grad(v, x)) for v in values])
    for mine, theirs in zip(*seen, strict=True):
        np.testing.assert_allclose(mine[0], theirs[0], rtol=1e-6)
        np.testing.assert_allclose(mine[1].numpy(), theirs[1].numpy(), rtol=1e-6)


def _ones(m: Any, *sizes: tuple[int, ...]) -> list[Any]:
    return [m.ones(size) for size in sizes]


BAD: list[tuple[str, Callable[[Any], Any]]] = [
    ("margin_ranking_loss", lambda m: m.nn.functional.margin_ranking_loss(*_ones(m, (2, 3), (3,), (2, 3)))),
    ("reduction", lambda m: m.nn.functional.margin_ranking_loss(*_ones(m, (3,), (3,), (3,)), reduction="x")),
    ("cosine_embedding_loss", lambda m: m.nn.functional.cosine_embedding_loss(*_ones(m, (2, 3), (2, 3), (2, 3)))),
    ("cosine_embedding_loss", lambda m: m.nn.functional.cosine_embedding_loss(*_ones(m, (2, 3), (2, 3), ()))),
    ("multi_margin_loss", lambda m: m.nn.functional.multi_margin_loss(m.ones(2, 3), m.tensor([0, 3]))),
    ("multi_margin_loss", lambda m: m.nn.functional.multi_margin_loss(m.ones(2, 3), m.tensor([0]))),
    ("multi_margin_loss", lambda m: m.nn.functional.multi_margin_loss(m.ones(2, 3), m.tensor([0, 1]), p=3)),
    (
        "multi_margin_loss",
        lambda m: m.nn.functional.multi_margin_loss(m.ones(2, 3), m.tensor([0, 1]), weight=m.ones(2)),
    ),
    ("MultiMarginLoss", lambda m: m.nn.MultiMarginLoss(p=3)),
    ("MultiMarginLoss", lambda m: m.nn.MultiMarginLoss(weight=m.ones(2, 2))),
    ("multilabel_margin_loss", lambda m: m.nn.functional.multilabel_margin_loss(m.ones(2), m.tensor([0, 2]))),
    ("multilabel_margin_loss", lambda m: m.nn.functional.multilabel_margin_loss(m.ones(2, 3), m.tensor([0, 2]))),
    ("TripletMarginLoss", lambda m: m.nn.TripletMarginLoss(0)),
    ("TripletMarginWithDistanceLoss", lambda m: m.nn.TripletMarginWithDistanceLoss(margin=-1)),
    ("triplet_margin_loss", lambda m: m.nn.functional.triplet_margin_loss(*_ones(m, (2, 3), (3,), (2, 3)))),
    ("triplet_margin_loss", lambda m: m.nn.functional.triplet_margin_loss(*_ones(m, (3,), (3,), (3,)), margin=0)),
    ("gaussian_nll_loss", lambda m: m.nn.functional.gaussian_nll_loss(m.ones(2, 3), m.ones(2, 3), -m.ones(2, 3))),
    ("gaussian_nll_loss", lambda m: m.nn.functional.gaussian_nll_loss(m.ones(2, 3), m.ones(2, 3), m.ones(3))),
    ("gaussian_nll_loss", lambda m: m.nn.functional.gaussian_nll_loss(m.ones(2, 3), m.ones(2, 3), m.ones(1, 1))),
    ("gaussian_nll_loss", lambda m: m.nn.functional.gaussian_nll_loss(m.ones(2), m.ones(2), 1)),
    ("reduction", lambda m: m.nn.functional.poisson_nll_loss(m.ones(2), m.ones(2), reduction="x")),
    ("cosine_similarity", lambda m: m.nn.functional.cosine_similarity(m.tensor([1]), m.tensor([1]), dim=0)),
]


@pytest.mark.parametrize(("name", "call"), BAD)
def test_a_bad_call_raises_pytorchs_kind_and_names_the_function(
    name: str, call: Callable[[Any], Any], torch: Any
) -> None:
    with pytest.raises(Exception) as reference:  # noqa: PT011 - its type is what is asked for
        call(torch)
    with pytest.raises(reference.type, match=name):
        call(unspool)


@pytest.mark.parametrize("dtype", [unspool.float32, unspool.float64])
@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33])
def test_rows_have_the_same_bits_however_they_lie(n: int, dtype: Any) -> None:
    """Short rows are worked on in registers where their elements are neighbours, else piece by piece."""
    unspool.manual_seed(n)
    dense = unspool.randn(7, n, dtype=dtype) * 5
    dense[3], dense[4], dense[5, 0], dense[6, -1] = 0.0, -math.inf, math.inf, math.nan
    apart = unspool.empty(n, 7, dtype=dtype).t().copy_(dense)
    assert n == 1 or not apart.is_contiguous()
    target = unspool.arange(7) % n
    for f in (
        lambda t: t.softmax(1),
        lambda t: t.log_softmax(1),
        lambda t: F.cross_entropy(t, target, reduction="none"),
        lambda t: unspool.autograd.grad(F.cross_entropy(t, target, reduction="none").sum(), t)[0],
    ):
        one, other = (f(t.detach().requires_grad_()).detach().contiguous() for t in (dense, apart))
        assert np.array_equal(one.numpy(), other.numpy(), equal_nan=True)
