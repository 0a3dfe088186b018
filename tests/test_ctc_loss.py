"""F.ctc_loss beside a sum over all paths, and what it refuses."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

import unspool
import unspool.nn.functional as F
from unspool.errors import ShapeError


def _spelled(path: tuple[int, ...], blank: int) -> list[int]:
    return [label for label, _ in itertools.groupby(path) if label != blank]


def _over_paths(log_probs: Any, target: list[int], blank: int) -> float:
    frames, classes = log_probs.shape
    chances = (
        math.exp(sum(log_probs[t, label] for t, label in enumerate(path)))
        for path in itertools.product(range(classes), repeat=frames)
        if _spelled(path, blank) == target
    )
    total = sum(chances)
    return -math.log(total) if total else math.inf


@pytest.mark.parametrize("form", ["padded", "joined", "padded, numbers", "joined, numbers"])
@pytest.mark.parametrize("blank", [0, 2])
def test_it_sums_over_all_paths(form: str, blank: int) -> None:
    rng = np.random.default_rng(blank)
    log_probs = unspool.tensor(rng.standard_normal((5, 4, 3))).log_softmax(2)
    frames, words = [5, 4, 5, 3], [[1, 1], [1], [], [3 - blank - 1] * 2]
    joined = [label for word in words for label in word]
    filled = [[*word, *[-9] * (3 - len(word))] for word in words]  # what comes after a target is nobody's business
    y = unspool.tensor(filled if form.startswith("padded") else joined)
    counts = [len(word) for word in words]
    lengths = (tuple(frames), tuple(counts)) if form.endswith("numbers") else map(unspool.tensor, (frames, counts))
    found = F.ctc_loss(log_probs, y, *lengths, blank=blank, reduction="none").numpy()
    array = log_probs.numpy()
    expected = [_over_paths(array[:t, n], word, blank) for n, (t, word) in enumerate(zip(frames, words, strict=True))]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_replay_refuses_what_a_call_does() -> None:
    frozen = unspool.compile(F.ctc_loss)
    log_probs, y = unspool.randn(5, 2, 3).log_softmax(2), unspool.tensor([[1, 2], [2, 1]])
    frames, counts = unspool.tensor([5, 4]), unspool.tensor([2, 1])
    for _ in range(3):
        frozen(log_probs, y, frames, counts)
    assert frozen.plans == 1
    for call in (F.ctc_loss, frozen):
        with pytest.raises(RuntimeError, match="input_lengths must lie between 0 and 5, got 6"):
            call(log_probs, y, unspool.tensor([5, 6]), counts)
        with pytest.raises(ShapeError, match=r"targets of shape \(2, 2\) don't hold a sequence of 3"):
            call(log_probs, y, frames, unspool.tensor([2, 3]))
        with pytest.raises(RuntimeError, match="targets must be class numbers below 3, got 3"):
            call(log_probs, unspool.tensor([[1, 3], [2, 1]]), frames, counts)
    with pytest.raises(RuntimeError, match="target_lengths must lie between 0 and 4, got -1"):
        F.ctc_loss(log_probs, y, (5, 4), (2, -1))
    with pytest.raises(RuntimeError, match="input_lengths must be of size batch_size 2, got 1"):
        F.ctc_loss(log_probs, y, (5,), (2, 1))
