"""Every view operation, with every way of writing in place through it, beside PyTorch.

A case is a view operation, a place that is written (the view, the base, a second view of either) and how the base
stands on the tape (a leaf that requires grad, a result, a plain tensor, a leaf under no_grad). Values, gradient,
versions and `_base` must be PyTorch's, or both raise. Where unspool takes a write that PyTorch refuses, its gradient
must be PyTorch's of an equal view, or that of central differences.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import unspool

torch = pytest.importorskip("torch", reason="PyTorch is the reference for writes through views")

DATA = np.linspace(0.3, 2.6, 24).reshape(2, 3, 4)

View = Callable[[Any, Any], Any]


def _item(f: Callable[[Any], Any], i: int) -> View:
    return lambda m, b: f(b)[i]


VIEWS: dict[str, View] = {
    "slice": lambda m, b: b[:, 1:3],
    "step": lambda m, b: b[..., ::2],
    "select": lambda m, b: b.select(1, 2),
    "integer": lambda m, b: b[1],
    "none": lambda m, b: b[None, 0],
    "ellipsis": lambda m, b: b[..., -1],
    "whole": lambda m, b: b[:],
    "narrow": lambda m, b: b.narrow(2, 1, 2),
    "transpose": lambda m, b: b.transpose(0, 2),
    "swapaxes": lambda m, b: b.swapaxes(0, 1),
    "permute": lambda m, b: b.permute(2, 0, 1),
    "movedim": lambda m, b: b.movedim(0, -1),
    "t": lambda m, b: b[0].t(),
    "T": lambda m, b: b[1].T,
    "mT": lambda m, b: b.mT,
    "adjoint": lambda m, b: b.adjoint(),
    "expand": lambda m, b: b[:, :1].expand(2, 3, 4),
    "expand_by_nothing": lambda m, b: b.expand(2, 3, 4),
    "expand_as": lambda m, b: b[:, :1].expand_as(b),
    "broadcast_to": lambda m, b: m.broadcast_to(b[0], (2, 3, 4)),
    "squeeze": lambda m, b: b[:, :1].squeeze(),
    "squeeze_dim": lambda m, b: b[:, :1].squeeze(1),
    "squeeze_nothing": lambda m, b: b.squeeze(1),
    "unsqueeze": lambda m, b: b.unsqueeze(1),
    "view": lambda m, b: b.view(6, 4),
    "view_flat": lambda m, b: b.view(-1),
    "view_as": lambda m, b: b.view_as(m.zeros(4, 6)),
    "reshape": lambda m, b: b.reshape(3, 8),
    "reshape_copies": lambda m, b: b.transpose(0, 2).reshape(24),
    "reshape_as": lambda m, b: b.reshape_as(m.zeros(8, 3)),
    "flatten": lambda m, b: b.flatten(1),
    "ravel": lambda m, b: b.ravel(),
    "unflatten": lambda m, b: b.unflatten(2, (2, 2)),
    "diagonal": lambda m, b: b.diagonal(1, 1, 2),
    "linalg_diagonal": lambda m, b: m.linalg.diagonal(b),
    "as_strided": lambda m, b: b.as_strided((3, 2), (4, 2), 1),
    "unfold": lambda m, b: b.unfold(2, 2, 2),
    "detach": lambda m, b: b.detach(),
    "data": lambda m, b: b.data,
    "view_dtype": lambda m, b: b.view(b.dtype),
    "contiguous": lambda m, b: b.contiguous(),
    "to_itself": lambda m, b: b.to(b.dtype),
    "positive": lambda m, b: m.positive(b),
    "atleast_3d": lambda m, b: m.atleast_3d(b[0]),
    "view_of_view": lambda m, b: b[1].t()[1:, ::2],
    "chain": lambda m, b: b.transpose(0, 1).flatten(1).unsqueeze(0).diagonal(0, 1, 2),
    # several views at once: PyTorch forbids writes to them under autograd
    "split": _item(lambda b: b.split(2, 1), 1),
    "split_sizes": _item(lambda b: b.split([1, 3], 2), 1),
    "chunk": _item(lambda b: b.chunk(2, 2), 0),
    "unbind": _item(lambda b: b.unbind(1), 2),
    "iterate": _item(list, 1),
    "tensor_split": _item(lambda b: b.tensor_split(2), 0),
    "hsplit": _item(lambda b: b.hsplit(3), 1),
    "unsafe_split": _item(lambda b: b.split(1), 0),
}
# PyTorch forbids writes to one of several views that one call made. unspool makes the view's history anew from its
# base's, as for any view: these must give what PyTorch gives for the one view that shows the same.
SEVERAL: dict[str, View] = {
    "split": lambda m, b: b.narrow(1, 2, 1),
    "split_sizes": lambda m, b: b.narrow(2, 1, 3),
    "chunk": lambda m, b: b.narrow(2, 0, 2),
    "unbind": lambda m, b: b.select(1, 2),
    "iterate": lambda m, b: b.select(0, 1),
    "tensor_split": lambda m, b: b.narrow(0, 0, 1),
    "hsplit": lambda m, b: b.narrow(1, 1, 1),
    "unsafe_split": lambda m, b: b.narrow(0, 0, 1),
}

WRITES: dict[str, Callable[[Any, Any, Any], Any]] = {
    "view_mul": lambda m, b, v: v.mul_(3.0),
    "view_zero": lambda m, b, v: v.zero_(),
    "view_fill_own_element": lambda m, b, v: v.fill_(2.0),
    "view_times": lambda m, b, v: v.mul_(m.linspace(-1, 2, v.numel(), dtype=v.dtype).reshape(v.shape)),
    "view_exp": lambda m, b, v: v.exp_(),
    "view_setitem": lambda m, b, v: v.__setitem__(0, 7.0),
    "view_setitem_mask": lambda m, b, v: v.__setitem__(v.detach() > 1.07, 0.5),
    "base_mul": lambda m, b, v: b.mul_(2.0),
    "base_setitem": lambda m, b, v: b.__setitem__((0, 1), -1.0),
    "base_sin": lambda m, b, v: b.sin_(),
    "second_view_of_base": lambda m, b, v: b[1].mul_(5.0),
    "second_view_of_view": lambda m, b, v: v.unsqueeze(0).add_(1.0).mul_(2.0),
    "view_twice": lambda m, b, v: v.add_(1.0).mul_(2.0),
    "view_then_base": lambda m, b, v: (v.mul_(2.0), b.mul_(3.0)),
    "base_then_view": lambda m, b, v: (b.mul_(3.0), v.add_(2.0)),
    "view_copy": lambda m, b, v: v.copy_(m.linspace(-1, 2, v.numel(), dtype=v.dtype).reshape(v.shape)),
    "view_copy_of_base": lambda m, b, v: v.copy_((v * 2).exp()),
}

# One number into every element of an expanded tensor: PyTorch writes it, unspool refuses all writes to one.
EXPANDED = {"expand", "expand_as", "broadcast_to"}
REFUSED = {"view_zero", "view_fill_own_element", "view_setitem_mask"}

STANDINGS = ("result", "permuted", "leaf", "plain", "no_grad", "view_made_under_no_grad", "detached_base")


def program(m: Any, view: View, write: Any, standing: str, data: Any) -> dict[str, Any]:
    """Everything that can be seen of one case."""
    x = m.tensor(data, dtype=m.float64, requires_grad=standing != "plain")
    b = x * 1.5 if standing in ("result", "view_made_under_no_grad") else x
    if standing == "permuted":  # a result that is not contiguous
        b = x.transpose(0, 2).contiguous().transpose(0, 2) * 1.5
    if standing == "detached_base":
        b = (x * 1.5).detach()
    if standing == "view_made_under_no_grad":
        with m.no_grad():
            v = view(m, b)
    else:
        v = view(m, b)
    seen: dict[str, Any] = {
        "shape": tuple(v.shape),
        "stride": v.stride(),
        "offset": v.storage_offset(),
        "contiguous": v.is_contiguous(),
        "shares": v.data_ptr() - b.data_ptr()
        if v.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()
        else None,
        "based": v._base is not None,
        "leaf": v.is_leaf,
    }
    if standing == "no_grad":
        with m.no_grad():
            write(m, b, v)
    else:
        write(m, b, v)
    seen["version of view"], seen["version of base"] = v._version, b._version
    seen["view"], seen["base"] = v.detach().numpy().copy(), b.detach().numpy().copy()
    weights = m.tensor(np.linspace(0.5, 1.5, 24).reshape(2, 3, 4))
    loss = (b * weights).sum() + (v * v).sum()
    if loss.requires_grad:
        loss.backward()
        seen["loss"], seen["gradient"] = loss.item(), None if x.grad is None else x.grad.numpy()
    return seen


def outcome(m: Any, view: View, write: Any, standing: str) -> tuple[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return "ran", program(m, view, write, standing, DATA)
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            return "raised", f"{type(error).__name__}: {error}"


def differences(view: View, write: Any, standing: str) -> Any:
    """The gradient by central differences: the loss at data moved by a little, each element in turn."""
    step, found = 1e-5, np.zeros(DATA.size)
    for i in range(DATA.size):
        two = []
        for sign in (1, -1):
            moved = DATA.reshape(-1).copy()
            moved[i] += sign * step
            two.append(program(unspool, view, write, standing, moved.reshape(DATA.shape))["loss"])
        found[i] = (two[0] - two[1]) / (2 * step)
    return found.reshape(DATA.shape)


@pytest.mark.parametrize("standing", STANDINGS)
@pytest.mark.parametrize("name", VIEWS)
def test_writes(name: str, standing: str) -> None:
    view = VIEWS[name]
    for what, write in WRITES.items():
        (how, ours), (expected, theirs) = (outcome(m, view, write, standing) for m in (unspool, torch))
        case = f"{name}, {what}, {standing}: {ours}\nPyTorch: {theirs}"
        if expected == "raised" and how == "ran" and name in SEVERAL:
            expected, theirs = outcome(torch, SEVERAL[name], write, standing)
        if expected == "raised":
            if how == "ran":
                # a view made under no_grad, used after its base was written
                assert standing == "view_made_under_no_grad", case
                assert what.startswith(("base", "second_view_of_base")), case
                wanted = differences(view, write, standing)
                np.testing.assert_allclose(ours["gradient"], wanted, 1e-6, 1e-6, err_msg=case)
            continue
        if name in EXPANDED and what in REFUSED:
            continue
        assert how == "ran", case
        assert list(ours) == list(theirs), case
        for key, value in theirs.items():
            if isinstance(value, np.ndarray):
                np.testing.assert_allclose(ours[key], value, 1e-12, 1e-12, err_msg=f"{key} of {case}")
            elif key == "loss":
                assert ours[key] == pytest.approx(value, rel=1e-12), case
            else:
                assert ours[key] == value, f"{key} of {case}"


def test_a_base_with_gaps() -> None:
    """Memory of NumPy's with every second element, written with a tensor that requires grad."""
    results = []
    for m in (unspool, torch):
        memory = np.linspace(0.3, 2.6, 48).reshape(2, 3, 8)
        b = m.from_numpy(memory)[..., ::2].detach()
        w = m.tensor(np.linspace(-1, 1, 6).reshape(3, 2), requires_grad=True)
        v = b[1, :, 1:3]
        v.mul_(w)
        b[:, 1].sin_()
        loss = (b * m.tensor(DATA)).sum() + (v * v).sum()
        (g,) = m.autograd.grad(loss, w, create_graph=True)
        (second,) = m.autograd.grad((g * g).sum(), w)
        results.append((memory, g.detach().numpy(), second.numpy()))
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, 1e-12, 1e-12)


@functools.cache
def counted() -> dict[tuple[str, str], int]:
    found: dict[tuple[str, str], int] = {}
    for view in VIEWS.values():
        for write in WRITES.values():
            for standing in STANDINGS:
                key = outcome(unspool, view, write, standing)[0], outcome(torch, view, write, standing)[0]
                found[key] = found.get(key, 0) + 1
    return found


def test_the_table_has_cases_that_run_and_cases_that_raise() -> None:
    found = counted()
    assert found["ran", "ran"] > 2000
    assert found["raised", "raised"] > 300
    assert found["raised", "ran"] == len(EXPANDED) * len(REFUSED) * 3
