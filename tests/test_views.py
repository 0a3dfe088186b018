"""Views share storage and version counter; copies have their own."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

import unspool
from program_outcomes import MATRIX, leaf

VIEW_OPS: dict[str, Callable[[Any], Any]] = {
    "view": lambda x: x.view(3, 2),
    "reshape": lambda x: x.reshape(6),
    "flatten": lambda x: x.flatten(),
    "transpose": lambda x: x.transpose(0, 1),
    "t": lambda x: x.t(),
    "T": lambda x: x.T,
    "permute": lambda x: x.permute(1, 0),
    "expand": lambda x: x.expand(2, 2, 3),
    "squeeze": lambda x: x.squeeze(),
    "unsqueeze": lambda x: x.unsqueeze(1),
    "select": lambda x: x.select(0, 1),
    "narrow": lambda x: x.narrow(1, 1, 2),
    "index": lambda x: x[1],
    "slice": lambda x: x[:, 1:],
    "step": lambda x: x[:, ::2],
    "ellipsis": lambda x: x[..., 0],
    "none": lambda x: x[None],
    "detach": lambda x: x.detach(),
    "contiguous": lambda x: x.contiguous(),
    "view_as": lambda x: x.view_as(x),
    "expand_as": lambda x: x.expand_as(x),
}
COPY_OPS: dict[str, Callable[[Any], Any]] = {
    "clone": lambda x: x.clone(),
    "reshape of a transpose": lambda x: x.t().reshape(6),
    "contiguous of a transpose": lambda x: x.t().contiguous(),
    "add": lambda x: x + 0,
    "double": lambda x: x.double(),
}


@pytest.mark.parametrize("name", VIEW_OPS)
def test_a_view_shares_storage_and_counter(torch: ModuleType, name: str) -> None:
    seen = []
    for m in (unspool, torch):
        x = m.tensor(MATRIX)
        v = VIEW_OPS[name](x)
        offset = (v.data_ptr() - x.data_ptr()) // x.element_size()
        x.mul_(2)
        values = v.tolist()
        x.data.add_(1)
        x[0, 0] = 5
        seen.append((offset, v._version, x._version, values, tuple(v.stride()), v.storage_offset(), v.is_contiguous()))
    assert seen[0] == seen[1]
    assert seen[0][1] == seen[0][2] == 2


@pytest.mark.parametrize("name", COPY_OPS)
def test_a_copy_has_its_own(torch: ModuleType, name: str) -> None:
    for m in (unspool, torch):
        x = m.tensor(MATRIX)
        v = COPY_OPS[name](x)
        before = v.tolist()
        x.zero_()
        assert v.data_ptr() != x.data_ptr()
        assert (v.tolist(), v._version, x._version) == (before, 0, 1)


WRITES: dict[str, Callable[[Any, Any], Any]] = {
    "add_": lambda m, x: x.add_(1),
    "+=": lambda m, x: x.__iadd__(1),
    "mul_": lambda m, x: x.mul_(2),
    "zero_": lambda m, x: x.zero_(),
    "fill_": lambda m, x: x.fill_(3),
    "copy_": lambda m, x: x.copy_(m.zeros(3)),
    "setitem": lambda m, x: x.__setitem__(0, 7.0),
    "setitem slice": lambda m, x: x.__setitem__((slice(None), slice(0, 2)), m.zeros(2)),
    "exp_": lambda m, x: x.exp_(),
    "clamp_": lambda m, x: x.clamp_(2, 3),
    "uniform_": lambda m, x: x.uniform_(),
    "detach then write": lambda m, x: x.detach().add_(1),
    "data then write": lambda m, x: x.data.add_(1),
    "add": lambda m, x: x.add(1),
    "two writes": lambda m, x: x.add_(1).mul_(2),
    "write of nothing": lambda m, x: x[:0].add_(1),
}


@pytest.mark.parametrize("name", WRITES)
def test_version_counters(torch: ModuleType, name: str) -> None:
    seen = []
    for m in (unspool, torch):
        x = m.tensor(MATRIX)
        WRITES[name](m, x)
        row = x[1]
        row.sub_(1)
        seen.append((x._version, row._version, x.detach()._version, x.data._version))
    assert seen[0] == seen[1]


def test_base(torch: ModuleType) -> None:
    for m in (unspool, torch):
        x = leaf(m)
        y = x * 1
        assert y[0]._base is y
        assert y[0][1:]._base is y  # of a view of a view: the first base
        assert y._base is None
        assert y.detach()._base is None
