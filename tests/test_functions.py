"""Functions made of others that PyTorch's own samples leave out: beside NumPy and PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import unspool

EQUATIONS = [
    ("bij,bjk->bik", (2, 3, 4), (2, 4, 5)),
    ("bhid,bhjd->bhij", (2, 3, 4, 5), (2, 3, 6, 5)),
    ("bij,bij->b", (2, 3, 4), (2, 3, 4)),
    ("ij,ij->ij", (3, 4), (3, 4)),
    ("i,j,k->kij", (2,), (3,), (4,)),
    ("...ij,...jk->...ik", (2, 3, 4), (4, 5)),
    ("a...,b...->ab...", (2, 3, 4), (5, 4)),
    ("iij->j", (3, 3, 4)),
    ("iii->i", (3, 3, 3)),
    ("ij->", (3, 4)),
    ("ba", (2, 3)),
    ("ij,jk,kl->il", (2, 3), (3, 4), (4, 2)),
    ("bn,anm,bm->ba", (2, 3), (4, 3, 5), (2, 5)),
    ("ij,j->ij", (2, 1), (3,)),
    ("ij,kj->ik", (2, 0), (3, 0)),
    ("i,->i", (3,), ()),
]


@pytest.mark.parametrize("case", EQUATIONS, ids=[case[0] for case in EQUATIONS])
def test_einsum(case: Any) -> None:
    equation, shapes = case[0], case[1:]
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=shape) for shape in shapes]
    # NumPy does not broadcast sizes of 1 under a letter
    wanted = arrays[0] * arrays[1] if equation == "ij,j->ij" else np.einsum(equation, *arrays)
    tensors = [unspool.tensor(a, requires_grad=True) for a in arrays]
    got = unspool.einsum(equation, *tensors)
    assert tuple(got.shape) == wanted.shape
    np.testing.assert_allclose(got.detach().numpy(), wanted, rtol=1e-12, atol=1e-12)
    if got.numel():
        assert unspool.autograd.gradcheck(lambda *xs: unspool.einsum(equation, *xs), tuple(tensors))


def test_einsum_with_lists_of_numbers() -> None:
    a, b = unspool.arange(6.0).reshape(2, 3), unspool.arange(12.0).reshape(3, 4)
    assert unspool.equal(unspool.einsum(a, [0, 1], b, [1, 2], [0, 2]), a @ b)
    assert unspool.equal(unspool.einsum(a, [..., 0], [0, ...]), a.t())


@pytest.mark.filterwarnings("ignore:torch.chain_matmul is deprecated")
@pytest.mark.parametrize(
    "program",
    [
        lambda t, x: x.clone().fill_diagonal_(7),
        lambda t, x: t.zeros(7, 3).fill_diagonal_(2, wrap=True),
        lambda t, x: t.zeros(3, 3, 3).fill_diagonal_(2),
        lambda t, x: x.clone().less_(2).add_(x.clone().greater_equal_(3)),
        lambda t, x: x.clone().eq_(x.t()),
        lambda t, x: x.adjoint(),
        lambda t, x: reversed(x),
        lambda t, x: t.chain_matmul(x, x, x),
        lambda t, x: t.linalg.multi_dot([x[0], x, x, x[:, 1]]),
        lambda t, x: t.meshgrid(x[0], x[1], x[2], indexing="xy")[1],
        lambda t, x: t.detach(x),
        lambda t, x: x.new_tensor([1, 2]),
        lambda t, x: x.new_zeros(2, 3) + x.new_ones((2, 3)) + x.new_full((3,), 4),
        lambda t, x: t.exp_(x.clone()),
        lambda t, x: x.clone().arccos_().nan_to_num_(),
        lambda t, x: x.clone().clip_(1, 2).negative_().absolute_(),
        lambda t, x: t.quantile(x, t.tensor([0.1, 0.5]), dim=1, keepdim=True),
        lambda t, x: t.cov(x, fweights=t.tensor([1, 2, 3])),
    ],
)
def test_the_rest_against_pytorch(program: Any) -> None:
    torch = pytest.importorskip("torch")
    found = []
    for t in (unspool, torch):
        y = program(t, t.arange(9.0).reshape(3, 3))
        found.append((y.tolist(), str(y.dtype), tuple(y.shape)))
    assert found[0][1:] == found[1][1:]
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-6)


def test_small_questions() -> None:
    x = unspool.ones(2, 3)
    assert unspool.numel(x) == 6
    assert unspool.is_nonzero(unspool.tensor([2.0]))
    assert x.is_set_to(x.detach())
    assert not x.is_set_to(x[:1])
    assert x.is_same_size(unspool.zeros(2, 3))
    assert x.is_signed()
    assert not x.is_complex()
    assert x.is_cpu
    assert repr(x.layout) == "torch.strided"
    assert x.get_device() == -1
    assert unspool.typename(x) == "torch.FloatTensor"


def test_random_fills_draw_pytorchs_numbers() -> None:
    torch = pytest.importorskip("torch")
    found = []
    for t in (unspool, torch):
        t.manual_seed(3)
        p = t.tensor([0.1, 0.2, 0.3, 0.4])
        drawn = [
            t.empty(20).exponential_(2.0),
            t.empty(20).geometric_(0.3),
            t.empty(20).cauchy_(1.0, 2.0),
            t.bernoulli(t.full((20,), 0.3)),
            t.normal(t.arange(20.0), 2.0),
            t.normal(0.0, t.ones(20)),
            t.multinomial(p, 1).float(),
            t.multinomial(p, 3).float(),
            t.multinomial(p, 20, replacement=True).float(),
            t.randint_like(p, 5, 9),
            t.rand(2),
        ]
        found.append([y.tolist() for y in drawn])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-6)
