"""PyTorch's own samples of its layers and optimizers, run by both libraries.

As `test_torch_samples` does for operators: every layer that unspool has under the same name is built with the arguments
of PyTorch's samples. Its parameters must be PyTorch's, drawn from the same seed, and so must its printed form, its
results, gradients, second gradients and what it keeps. Malformed uses must raise. Optimizers take eight steps.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import unspool
from test_torch_samples import Unsupported, gradients, same, tensors, translated, wanting

try:
    import torch as reference
    from torch.testing._internal.common_modules import ModuleErrorEnum, module_db
    from torch.testing._internal.common_optimizers import optim_db
except ImportError:
    reference, module_db, optim_db = None, [], []

# Samples of a layer that are not compared, and why.
DIFFERENT = {
    "TransformerEncoder": "its samples pass layers of PyTorch",
    "TransformerDecoder": "its samples pass layers of PyTorch",
}
ERRORS_TAKEN = {
    "NLLLoss": "a weight of another dtype",
    "CrossEntropyLoss": "an ignored class beside probabilities",
}
SECOND_SIZE = 300  # elements, for a second gradient
# The logarithms of likelihoods of some -100 have errors of 1e-5 in float32, in both libraries.
LOOSER = {"CTCLoss": 1e-4}


class _Op:
    def __init__(self, name: str) -> None:
        self.name = name


class What:
    """What is compared, for the text of an error."""

    def __init__(self, name: str, text: str) -> None:
        self.op, self.text = _Op(name), text

    def at(self, part: str) -> What:
        return What(self.op.name, f"{part}: {self.text}")

    def __str__(self) -> str:
        return self.text


def ours_of(x: Any, seen: dict[int, Any]) -> Any:
    """PyTorch's arguments as unspool's; the same tensor, the same one."""
    if isinstance(x, reference.nn.Module):
        raise Unsupported("a layer of PyTorch")
    if isinstance(x, reference.Tensor):
        return seen.setdefault(id(x), translated(x))
    if callable(x) and getattr(x, "__module__", None) in ("torch.nn.functional", "torch._C._nn", "torch"):
        return getattr(unspool.nn.functional, x.__name__, x)
    if type(x) in (list, tuple):
        return type(x)(ours_of(item, seen) for item in x)
    if isinstance(x, dict):
        return {k: ours_of(v, seen) for k, v in x.items()}
    return translated(x)


def compare(info: Any, sample: Any, dtype: str, training: bool) -> None:
    name, made = info.module_cls.__name__, sample.constructor_input
    what = What(name, f"{name}({made.args!r:.200}, {made.kwargs!r:.300}), {training=}, {sample.desc}")
    seen: dict[int, Any] = {}
    lazy = name.startswith("Lazy")
    reference.manual_seed(1)
    theirs = info.module_cls(*made.args, **made.kwargs).to(getattr(reference, dtype)).train(training)
    unspool.manual_seed(1)
    arguments, keywords = ours_of(made.args, seen), ours_of(made.kwargs, seen)
    mine = getattr(unspool.nn, name)(*arguments, **keywords).to(getattr(unspool, dtype)).train(training)
    assert repr(mine) == repr(theirs), what
    assert list(mine.state_dict()) == list(theirs.state_dict()), what
    if not lazy:
        for key, value in theirs.state_dict().items():
            same(mine.state_dict()[key], value, dtype, what.at(f"first {key}"))
    if sample.forward_input is None:
        return
    given = sample.forward_input
    reference.manual_seed(2)
    expected = theirs(*given.args, **given.kwargs)
    unspool.manual_seed(2)
    arguments = ours_of(given.args, seen), ours_of(given.kwargs, seen)
    results = mine(*arguments[0], **arguments[1])
    for x, y in zip(tensors(results), tensors(expected), strict=True):
        same(x, y, dtype, what)
    if wanting(expected, reference):
        xs = [arguments, list(mine.parameters())], [(given.args, given.kwargs), list(theirs.parameters())]
        compare_gradients(info, results, expected, xs, dtype, what)
    for key, value in theirs.state_dict().items():
        same(mine.state_dict()[key], value, dtype, what.at(f"{key} afterwards"))


def compare_gradients(info: Any, results: Any, expected: Any, xs: Any, dtype: str, what: What) -> None:
    small = sum(t.numel() for t in wanting(xs[1], reference)) < SECOND_SIZE
    second = dtype == "float64" and info.supports_gradgrad and small
    mine, theirs = (
        gradients(m, y, x, second) for m, y, x in zip((unspool, reference), (results, expected), xs, strict=True)
    )
    for x, y in zip(mine, theirs, strict=True):
        if dtype == "float32" and what.op.name in LOOSER:
            np.testing.assert_allclose(x.detach().numpy(), y.detach().numpy(), atol=LOOSER[what.op.name], rtol=1e-4)
            continue
        same(x, y, dtype, what.at("gradient"))
    if not second:
        return
    try:
        wanted = gradients(reference, theirs, xs[1], False)
    except RuntimeError as error:
        if "is not implemented" in str(error):  # of some PyTorch has no second gradient
            return
        raise
    for x, y in zip(gradients(unspool, mine, xs[0], False), wanted, strict=True):
        same(x, y, dtype, what.at("second gradient"))


def layers() -> list[Any]:
    return [
        pytest.param(info, id=info.module_cls.__name__)
        for info in module_db
        if hasattr(unspool.nn, info.module_cls.__name__) and info.module_cls.__name__ not in DIFFERENT
    ]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("info", layers())
def test_a_layer_of_pytorch_gives_its_numbers(info: Any) -> None:
    for dtype, training in (("float64", True), ("float64", False), ("float32", True)):
        kind = getattr(reference, dtype)
        if kind not in info.dtypes:
            continue
        made = info.module_inputs_func(info, device="cpu", dtype=kind, requires_grad=True, training=training)
        for sample in itertools.islice(made, None if dtype == "float64" else 6):
            try:
                compare(info, sample, dtype, training)
            except Unsupported:
                continue


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("info", [p for p in layers() if p.values[0].module_error_inputs_func is not None])
def test_a_use_of_a_layer_that_pytorch_refuses_is_refused(info: Any) -> None:
    name = info.module_cls.__name__
    if name in ERRORS_TAKEN:
        return
    options = {"device": "cpu", "dtype": reference.float32, "requires_grad": False, "training": True}
    for error in info.module_error_inputs_func(info, **options):
        sample, seen = error.module_error_input, {}
        try:
            made, given = sample.constructor_input, sample.forward_input
            arguments, keywords = ours_of(made.args, seen), ours_of(made.kwargs, seen)
            call = None if given is None else (ours_of(given.args, seen), ours_of(given.kwargs, seen))
        except Unsupported:
            continue

        def use(
            call: Any = call, arguments: Any = arguments, keywords: Any = keywords, on: Any = error.error_on
        ) -> None:
            layer = getattr(unspool.nn, name)(*arguments, **keywords)
            if on == ModuleErrorEnum.FORWARD_ERROR:
                layer(*call[0], **call[1])

        with pytest.raises(error.error_type):
            use()


def trained(library: Any, make: Any, dtype: str) -> tuple[list[Any], Any, str]:
    """Losses and parameters of eight steps, what is saved, and the printed form."""
    rng = np.random.default_rng(0)
    kind = getattr(library, dtype)
    w, b = (library.nn.Parameter(library.tensor(rng.normal(size=s), dtype=kind)) for s in ((5, 4), (5,)))
    x, y = (library.tensor(rng.normal(size=s), dtype=kind) for s in ((16, 4), (16, 5)))
    optimizer = make([w, b])

    def closure() -> Any:
        optimizer.zero_grad()
        loss = ((x @ w.t() + b - y) ** 2).mean()
        loss.backward()
        return loss

    losses = []
    for i in range(8):
        losses.append(optimizer.step(closure).detach())
        if i == 3:
            optimizer.load_state_dict(optimizer.state_dict())
    return [*losses, w.detach(), b.detach()], optimizer.state_dict(), repr(optimizer)


OPTIMIZERS = [info for info in optim_db if hasattr(unspool.optim, info.optim_cls.__name__)]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("info", OPTIMIZERS, ids=lambda info: info.optim_cls.__name__)
def test_an_optimizer_of_pytorch_gives_its_numbers(info: Any) -> None:
    name = info.optim_cls.__name__
    # a line search in float32 takes another number of steps where a last digit differs
    for dtype in ("float64",) if name == "LBFGS" else ("float64", "float32"):
        for sample in info.optim_inputs_func(device="cpu", dtype=getattr(reference, dtype)):
            if any(isinstance(v, reference.Tensor) for v in sample.kwargs.values()):
                continue  # settings are numbers here
            settings = sample.kwargs
            expected = trained(reference, lambda p, s=settings: info.optim_cls(p, **s), dtype)
            found = trained(unspool, lambda p, s=settings: getattr(unspool.optim, name)(p, **s), dtype)
            what = What(name, f"{name} {sample.desc} {settings}")
            for a, b in zip(found[0], expected[0], strict=True):
                same(a, b, dtype, what)
            if name == "LBFGS":
                continue
            assert found[2] == expected[2], what
            for number, state in expected[1]["state"].items():
                assert set(found[1]["state"][number]) == set(state), what
                for key, value in state.items():
                    same(found[1]["state"][number][key], value, dtype, what.at(key))


@pytest.mark.parametrize("info", OPTIMIZERS, ids=lambda info: info.optim_cls.__name__)
def test_settings_that_pytorch_refuses_are_refused(info: Any) -> None:
    def converted(x: Any, seen: dict[int, Any]) -> Any:
        if isinstance(x, reference.Tensor):
            made = translated(x.detach())
            return seen.setdefault(id(x), unspool.nn.Parameter(made) if isinstance(x, reference.nn.Parameter) else made)
        if isinstance(x, (list, tuple)):
            return type(x)(converted(item, seen) for item in x)
        return {k: converted(v, seen) for k, v in x.items()} if isinstance(x, dict) else x

    for error in info.optim_error_inputs_func("cpu", reference.float32):
        sample = error.optimizer_error_input
        try:
            params = [unspool.nn.Parameter(unspool.ones(1))] if sample.params is None else converted(sample.params, {})
            settings = {k: translated(v) for k, v in sample.kwargs.items()}
        except Unsupported:
            continue
        with pytest.raises((error.error_type, TypeError)):  # TypeError: a setting that is a tensor; warnings are errors
            getattr(unspool.optim, info.optim_cls.__name__)(params, **settings)
