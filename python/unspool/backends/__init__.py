"""PyTorch's switches of libraries that are not here. Setting one changes nothing; none is available."""

from __future__ import annotations

from typing import Any

from unspool.backends import cudnn as cudnn  # modules, since programs import them
from unspool.backends import mps as mps


class _Absent:
    """A library that is not there: it may be asked and set up, without effect."""

    def __init__(self, name: str, **settings: Any) -> None:
        self.__name__ = f"unspool.backends.{name}"
        self.enabled = False
        self.__dict__.update(settings)

    def is_available(self) -> bool:
        """False."""
        return False

    is_built = is_available

    def version(self) -> None:
        """None."""

    def __repr__(self) -> str:
        return f"<{self.__name__}: not available>"


# Results are deterministic and products exact to their dtype, whatever these say.
cuda = _Absent("cuda", matmul=_Absent("cuda.matmul", allow_tf32=False, fp32_precision="ieee"))
mkl = _Absent("mkl")
mkldnn = _Absent("mkldnn")
openmp = _Absent("openmp")
