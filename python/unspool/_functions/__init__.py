"""Functions that are made of the core's operations, by subject. Most are methods of Tensor, too; see `_methods.py`."""

from __future__ import annotations

from unspool._functions.algebra import *
from unspool._functions.copies import *
from unspool._functions.counting import *
from unspool._functions.creation import *
from unspool._functions.draws import *
from unspool._functions.dtypes import *
from unspool._functions.elementwise import *
from unspool._functions.exchange import *
from unspool._functions.floats import *
from unspool._functions.grids import *
from unspool._functions.incomplete import *
from unspool._functions.legacy import *
from unspool._functions.marks import *
from unspool._functions.matrices import *
from unspool._functions.parts import *
from unspool._functions.samples import *
from unspool._functions.scans import *
from unspool._functions.scattering import *
from unspool._functions.storage import *
from unspool._functions.writing import *
