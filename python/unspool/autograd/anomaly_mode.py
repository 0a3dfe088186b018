"""Anomaly mode: a gradient with NaN is an error that names the call it came from and its line."""

from __future__ import annotations

from typing import Any

from unspool import _core

__all__ = ["detect_anomaly", "set_detect_anomaly"]


class set_detect_anomaly:
    """Switch anomaly mode on or off; as a context manager, until its end."""

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self._previous = _core._set_anomaly_mode(bool(mode) and check_nan)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: Any) -> None:
        _core._set_anomaly_mode(self._previous)


class detect_anomaly:
    """A context manager: inside, backward raises RuntimeError where a gradient has NaN."""

    def __init__(self, check_nan: bool = True) -> None:
        self._check = check_nan

    def __enter__(self) -> None:
        self._previous = _core._set_anomaly_mode(self._check)

    def __exit__(self, *_: Any) -> None:
        _core._set_anomaly_mode(self._previous)
