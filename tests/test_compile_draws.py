"""Random draws within frozen functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import unspool
import unspool.nn.functional as F
from compile_programs import bits


@pytest.mark.parametrize(
    "draw",
    [
        lambda: unspool.empty(5).uniform_(),
        lambda: unspool.empty(5).normal_(),
        lambda: F.dropout(unspool.ones(5), 0.5),
        lambda: unspool.bernoulli(unspool.full((3,), 0.5)),
        lambda: unspool.zeros(3).random_(4),
    ],
    ids=["uniform_", "normal_", "dropout", "bernoulli", "random_"],
)
def test_random_numbers_that_nobody_reads_move_the_stream_on(draw: Callable[[], Any]) -> None:
    """A dead step is left out of a plan; not one that draws, on which all later draws depend."""

    def function(x: Any) -> Any:
        draw()
        return x + unspool.rand(2)

    seen = []
    for call in (function, unspool.compile(function)):
        unspool.manual_seed(1)
        seen.append([bits(call(unspool.ones(2))) for _ in range(5)])
    assert seen[0] == seen[1]
