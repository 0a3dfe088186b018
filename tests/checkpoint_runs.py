"""Running a program with or without checkpoints, and comparing what it gives."""

from __future__ import annotations

from typing import Any

import numpy as np

from checkpoint_programs import Run


def in_checkpoint(t: Any, use_reentrant: bool) -> Run:
    from importlib import import_module

    found = import_module(f"{t.__name__}.utils.checkpoint").checkpoint

    def run(function: Any, *args: Any, **kwargs: Any) -> Any:
        return found(function, *args, use_reentrant=use_reentrant, **kwargs)

    return run


def numbers(value: Any) -> Any:
    if hasattr(value, "detach"):
        return value.detach().numpy().copy()
    if isinstance(value, dict):
        return {k: numbers(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [numbers(v) for v in value]
    return value


def same(mine: Any, theirs: Any, exactly: bool, where: str = "") -> None:
    assert type(mine) is type(theirs), where
    if isinstance(theirs, np.ndarray):
        assert (mine.shape, mine.dtype) == (theirs.shape, theirs.dtype), where
        if exactly:
            assert mine.tobytes() == theirs.tobytes(), where
        else:
            np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-11, err_msg=where)
    elif isinstance(theirs, (list, dict)):
        assert len(mine) == len(theirs), where
        keys = theirs if isinstance(theirs, dict) else range(len(theirs))
        for k in keys:
            same(mine[k], theirs[k], exactly, f"{where}[{k}]")
    else:
        assert mine == theirs, where
