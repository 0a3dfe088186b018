"""`unspool.diagnose(model, x, y)`: is this network initialised well? A report with numbers, a picture and a repair.

The module is callable. Start reading at `_diagnose.py`; `measure.py` takes the numbers, `findings.py` holds the rules,
`repair.py` what is done about them.
"""

from __future__ import annotations

import sys
from types import ModuleType

from unspool.diagnose._diagnose import diagnose as _run
from unspool.diagnose.findings import Finding
from unspool.diagnose.monitor import Monitor
from unspool.diagnose.report import Report

__all__ = ["Finding", "Monitor", "Report"]


class _Callable(ModuleType):
    """A module that can be called, as `unspool.diagnose` is."""

    Finding: type[Finding]
    Monitor: type[Monitor]
    Report: type[Report]
    __call__ = staticmethod(_run)


sys.modules[__name__].__class__ = _Callable
__doc__ = f"{__doc__}\n{_run.__doc__}"
