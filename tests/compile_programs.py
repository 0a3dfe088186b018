"""Programs to freeze: training steps of each model, optimizer, loss and order of parts, and random ones."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np

import unspool
import unspool.nn.functional as F
from test_random_programs import apply, chosen
from unspool import nn, optim

Batch = tuple[Any, Any]


class Residual(nn.Module):
    """Views, writes through views, concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: Any) -> Any:
        h = x + F.relu(self.inner(x))
        h[:, 0] *= 2
        return self.outer(unspool.cat([h[:, :3], h[:, 3:]], 1).transpose(0, 1).contiguous().T)


class Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.out = nn.Embedding(10, 6), nn.Linear(6, 3)

    def forward(self, x: Any) -> Any:
        return self.out(self.table((x.abs() * 5).long() % 10)).mean(1)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attend, self.out = nn.MultiheadAttention(6, 2, batch_first=True), nn.Linear(6, 3)

    def forward(self, x: Any) -> Any:
        return self.out(self.attend(x[None], x[None], x[None], need_weights=False)[0][0])


class Sorted(nn.Module):
    """Indices that depend on values, in and out of the differentiated path."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(6, 3)

    def forward(self, x: Any) -> Any:
        best, where = x.max(1, keepdim=True)
        order = x.argsort(1)
        y = x.gather(1, order) + best + x.take_along_dim(where, 1)
        return self.out(y[[4, 0, 1, 2, 3]].flip(0).tril(2)) + x.median(1, keepdim=True).values


MODELS: dict[str, Callable[[], Any]] = {
    "three layers": lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3)),
    "separate relu": lambda: Separate(),
    "dropout": lambda: nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.3), nn.GELU(), nn.Linear(8, 3)),
    "batch_norm": lambda: nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.LeakyReLU(), nn.Linear(8, 3)),
    "layer_norm": lambda: nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.SiLU(), nn.Linear(8, 3)),
    "group_norm": lambda: nn.Sequential(nn.Linear(6, 8), nn.GroupNorm(2, 8), nn.ELU(), nn.Linear(8, 3)),
    "rms_norm": lambda: nn.Sequential(nn.Linear(6, 8), nn.RMSNorm(8), nn.Sigmoid(), nn.Linear(8, 3)),
    "softmax": lambda: nn.Sequential(nn.Linear(6, 8), nn.Softmax(-1), nn.Linear(8, 3)),
    "prelu": lambda: nn.Sequential(nn.Linear(6, 8), nn.PReLU(), nn.Linear(8, 3)),
    "alpha_dropout": lambda: nn.Sequential(nn.Linear(6, 8), nn.SELU(), nn.AlphaDropout(0.2), nn.Linear(8, 3)),
    "relu in place": lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(inplace=True), nn.Linear(8, 3)),
    "softplus": lambda: nn.Sequential(nn.Linear(6, 8), nn.Hardtanh(), nn.Softplus(), nn.Mish(), nn.Linear(8, 3)),
    "glu": lambda: nn.Sequential(nn.Linear(6, 8), nn.GLU(), nn.Linear(4, 3)),
    "residual": Residual,
    "embedding": Words,
    "attention": Attention,
    "sorted": Sorted,
}


class Separate(nn.Module):
    """What Sequential would make one operation, as two calls: the plan's own fusion."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x: Any) -> Any:
        return self.b(F.relu(self.a(x)))


def _plain(name: str, **options: Any) -> Callable[[Any], Any]:
    return lambda params: getattr(optim, name)(params, **({"lr": 0.01} | options))


OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    **{
        name: _plain(name)
        for name in ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "Adamax", "NAdam", "RAdam", "Rprop")
    },
    "nesterov": _plain("SGD", momentum=0.9, nesterov=True, weight_decay=0.01),
    "amsgrad": _plain("Adam", amsgrad=True),
    "centered": _plain("RMSprop", centered=True, momentum=0.5),
    "maximize": _plain("SGD", momentum=0.5, dampening=0.1, maximize=True),
}

LOSSES: dict[str, tuple[Callable[..., Any], str]] = {
    "mse": (nn.MSELoss(), "numbers"),
    "l1": (nn.L1Loss(), "numbers"),
    "huber": (nn.HuberLoss(), "numbers"),
    "smooth_l1": (nn.SmoothL1Loss(), "numbers"),
    "cross_entropy": (nn.CrossEntropyLoss(), "classes"),
    "smoothed": (nn.CrossEntropyLoss(label_smoothing=0.1), "classes"),
    "bce": (nn.BCEWithLogitsLoss(), "shares"),
    "kl_div": (nn.KLDivLoss(reduction="batchmean"), "shares"),
    "poisson": (nn.PoissonNLLLoss(), "shares"),
    "hinge": (nn.HingeEmbeddingLoss(), "signs"),
    "soft_margin": (nn.SoftMarginLoss(), "signs"),
    "nll": (lambda y, t: F.nll_loss(F.log_softmax(y, -1), t), "classes"),
    "binary": (lambda y, t: F.binary_cross_entropy(y.sigmoid(), t), "shares"),
    "gaussian": (lambda y, t: F.gaussian_nll_loss(y, t, y.detach().abs() + 0.1), "numbers"),
    "multi_margin": (nn.MultiMarginLoss(), "classes"),
    "multilabel": (lambda y, t: F.multilabel_margin_loss(y, t.unsqueeze(1).expand(-1, 3)), "classes"),
    "triplet": (lambda y, t: F.triplet_margin_loss(y, t, t * 2), "numbers"),
    "cosine": (lambda y, t: F.cosine_embedding_loss(y, t, t[:, 0].sign()), "numbers"),
}

STEPS = ("zero first", "zero last", "accumulate", "zeros", "closure")


def batch_of(kind: str, dtype: Any) -> Batch:
    x = unspool.randn(5, 6, dtype=dtype)
    if kind == "classes":
        return x, unspool.randint(0, 3, (5,))
    if kind == "signs":
        return x, unspool.randint(0, 2, (5, 3)).to(dtype) * 2 - 1
    return x, (unspool.randn if kind == "numbers" else unspool.rand)(5, 3, dtype=dtype)


def step_of(order: str, model: Any, optimizer: Any, criterion: Any) -> Callable[[Any, Any], Any]:
    def zero_first(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    def zero_last(x: Any, y: Any) -> Any:
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss

    def accumulate(x: Any, y: Any) -> Any:
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        return {"loss": loss.detach(), "of": ("batch", x)}

    def zeros(x: Any, y: Any) -> Any:
        optimizer.zero_grad(set_to_none=False)
        loss = criterion(model(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        return loss, 3.0

    def closure(x: Any, y: Any) -> Any:
        def evaluate() -> Any:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            return loss

        return optimizer.step(evaluate)

    return dict(zip(STEPS, (zero_first, zero_last, accumulate, zeros, closure), strict=True))[order]


def bits(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: bits(v) for k, v in value.items()}
    if isinstance(value, tuple):
        return tuple(map(bits, value))
    return value.detach().numpy().tobytes() if isinstance(value, unspool.Tensor) else value


def random_program(r: random.Random) -> tuple[Callable[..., Any], list[Any], list[tuple[int, ...]]]:
    """A function of tensors, its leaves, and the shapes of its arguments. Writes that backward refuses are left out."""
    seed = r.randrange(1 << 16)
    shapes = [r.choice([(3, 3), (2, 3), (3,), (), (4, 3), (1, 3), (2, 2, 3)]) for _ in range(r.randrange(1, 4))]
    steps = chosen(r, unspool, shapes, seed)
    rng = np.random.default_rng(seed)
    leaves = [unspool.tensor(rng.uniform(0.5, 1.5, shape), requires_grad=True) for shape in shapes]

    def program(*xs: Any) -> Any:
        for leaf in leaves:
            leaf.grad = None
        live = [x * leaf for x, leaf in zip(xs, leaves, strict=True)]
        for step in steps:
            apply(unspool, step, live)
        total = sum(((t * t).sum() + t.sum() for t in live if t.is_floating_point()), unspool.zeros(()))
        if total.requires_grad:
            total.backward()
        return tuple(t.detach() for t in live)

    while True:
        try:
            program(*(unspool.tensor(rng.uniform(-1, 1, shape)) for shape in shapes))
        except (RuntimeError, IndexError, ValueError):
            last = max((i for i, step in enumerate(steps) if step.__qualname__.startswith("write")), default=None)
            del steps[-1 if last is None else last]
            continue
        return program, leaves, shapes


def recorded(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    compiled = unspool.compile(function)
    for _ in range(2):
        compiled(*args, **kwargs)
    assert compiled.plans == 1
    return compiled
