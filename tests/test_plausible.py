"""Public functions with arguments that fit, chosen by hypothesis: most calls are accepted, none crashes or changes what
it was given, and results are PyTorch's. plausible_calls.py makes the calls; `UNSPOOL_PLAUSIBLE_CALLS=20000` makes it a
campaign."""

from __future__ import annotations

import os
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import plausible_calls

pytestmark = pytest.mark.skipif(plausible_calls.torch is None, reason="PyTorch is the reference")

CALLS = int(os.environ.get("UNSPOOL_PLAUSIBLE_CALLS", "600"))


@settings(max_examples=CALLS, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None)
@given(st.integers(0, 2**64))
def test_a_call_that_fits(seed: int) -> None:
    report = plausible_calls.one_call(random.Random(seed))
    assert report.problem is None, f"{report.text}\n{report.problem}"


def test_most_calls_are_accepted_and_compared() -> None:
    reports = [plausible_calls.one_call(random.Random(f"count {i}")) for i in range(200)]
    assert sum(r.accepted for r in reports) > 110
    assert sum(r.compared for r in reports) > 90


def test_a_difference_is_seen() -> None:
    torch, unspool = plausible_calls.torch, plausible_calls.unspool
    for mine, other in (
        (unspool.ones(2), torch.ones(2) + 1e-3),
        (unspool.ones(2), torch.ones(2, 1)),
        (unspool.ones(2), torch.ones(2).double()),
        (unspool.ones(2), (torch.ones(2),)),
        (True, False),
        (1.0, 1.1),
    ):
        assert plausible_calls.differing(mine, other) is not None
    assert plausible_calls.differing(unspool.ones(2), torch.ones(2)) is None
