"""The op table, op by op, against NumPy: values, layouts, writes in place, documentation."""

from __future__ import annotations

import doctest
from typing import Any

import numpy as np
import pytest

import unspool
from op_cases import (
    ELSEWHERE,
    FUNCTION,
    INPLACE,
    LAYOUTS,
    METHOD,
    PUBLIC,
    TABLE,
    Case,
    callables,
    cases,
    check_value,
    drawn,
    expected,
    key_of,
    laid_out,
    run,
)
from op_references import REFERENCES
from test_torch_samples import op_db
from unspool import _core


def test_every_public_op_has_a_reference() -> None:
    """A NumPy line, or PyTorch's own samples: values, both gradients and tangents in test_torch_samples.py."""
    missing = sorted(set(PUBLIC) - set(REFERENCES))
    if missing and not op_db:
        pytest.skip("PyTorch 2.13 is not installed (pip install '.[torch]')")
    sampled = {op.name.rsplit(".", 1)[-1] for op in op_db} | ELSEWHERE
    missing = [key for key in missing if key[: key.index("(")] not in sampled]
    assert not missing, f"no NumPy reference in tests/op_references.py, and no sample of PyTorch, for {missing}"
    unknown = sorted(set(REFERENCES) - set(PUBLIC))
    assert not unknown, f"references for ops that are not in the table: {unknown}"


def test_every_public_op_is_documented_and_there() -> None:
    for key, entry in PUBLIC.items():
        name = key[: key.index("(")]
        assert entry["doc"], key
        assert not entry["surface"] & FUNCTION or callable(getattr(_core, name, None)), key
        assert not entry["surface"] & METHOD or callable(getattr(_core.Tensor, name, None)), key
        if entry["surface"] & INPLACE:
            assert callable(getattr(_core.Tensor, name.rstrip("_") + "_", None)), key


@pytest.mark.parametrize("entry", [pytest.param(e, id=key_of(e)) for e in TABLE if e["doctest"]])
def test_doctest(entry: dict[str, Any]) -> None:
    test = doctest.DocTestParser().get_doctest(entry["doctest"], {"unspool": unspool}, entry["schema"], None, 0)
    assert test.examples
    text: list[str] = []
    result = doctest.DocTestRunner(verbose=False).run(test, out=text.append)
    assert result.failed == 0, "".join(text)


@pytest.mark.parametrize("case", cases(lambda c: c.reference.numpy is not None))
def test_forward_is_numpys(case: Case) -> None:
    creates = not case.inputs
    for dtype in case.reference.dtypes:
        arrays = drawn(case, dtype)
        wanted = expected(case, arrays)
        for layout in LAYOUTS[: 1 if creates else 3]:
            xs = [laid_out(a, layout) for a in arrays if a is not None]
            if case.name == "view" and layout != "contiguous":
                continue  # raises where strides do not allow it; test_op_shapes.py
            for op in callables(case):
                if case.writes:
                    target = xs[0].clone()
                    check_value(case, op(target, *xs[1:]), wanted)
                    check_value(case, target, wanted)
                    if layout != "contiguous":  # and into strided memory
                        strided = laid_out(arrays[0].copy(), layout)
                        check_value(case, op(strided, *xs[1:]), wanted)
                else:
                    check_value(case, op(*xs), wanted)
        if creates:
            break


@pytest.mark.parametrize("case", cases(lambda c: c.reference.numpy is None))
def test_result_without_a_formula(case: Case) -> None:
    unspool.manual_seed(0)
    assert case.reference.check is not None
    for dtype in case.reference.dtypes:
        arrays = drawn(case, dtype)
        xs = [laid_out(a, "contiguous") for a in arrays]
        y = run(case, *xs)
        assert tuple(y.shape) == (arrays[0].shape if arrays else tuple(case.attributes.get("size", y.shape)))
        assert case.reference.check(y.numpy()), case.key


@pytest.mark.parametrize("case", cases(lambda c: bool(c.entry["surface"] & INPLACE) and not c.writes))
def test_in_place_equals_functional(case: Case) -> None:
    for dtype in case.reference.dtypes:
        arrays = drawn(case, dtype)
        for layout in LAYOUTS:
            xs = [laid_out(a, layout) for a in arrays]
            y = run(case, *xs)
            target = xs[0].clone() if layout == "contiguous" else laid_out(arrays[0].copy(), layout)
            call = getattr(target, case.name + "_")
            pointer, version = target.data_ptr(), target._version
            if y.shape != target.shape or (y.is_floating_point() and not target.is_floating_point()):
                with pytest.raises(RuntimeError):  # ShapeError and DTypeError are RuntimeErrors
                    call(*xs[1:], **case.attributes)
                assert np.array_equal(target.numpy(), xs[0].numpy()), "the target changed"
                assert target._version == version
                continue
            assert call(*xs[1:], **case.attributes) is target
            assert (target.data_ptr(), target._version) == (pointer, version + 1)
            np.testing.assert_array_equal(target.numpy(), y.numpy().astype(target.numpy().dtype))
