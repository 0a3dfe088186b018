"""Functions that are made of the core's operations, by subject. Most are methods of Tensor, too; see `_methods.py`."""

from __future__ import annotations

from unspool._functions.algebra import *  # noqa: F403
from unspool._functions.counting import *  # noqa: F403
from unspool._functions.creation import *  # noqa: F403
from unspool._functions.dtypes import *  # noqa: F403
from unspool._functions.elementwise import *  # noqa: F403
from unspool._functions.exchange import *  # noqa: F403
from unspool._functions.grids import *  # noqa: F403
from unspool._functions.inplace import *  # noqa: F403
from unspool._functions.parts import *  # noqa: F403
from unspool._functions.scans import *  # noqa: F403
