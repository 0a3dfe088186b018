"""Everything public says what it is: each function, class, method and property that the package offers."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

import unspool

# CPython writes these docstrings, or they belong to a base class of the standard library.
_FOREIGN = {"count", "index", "with_traceback", "add_note", "args"}


def public_modules() -> list[str]:
    names = ["unspool"]
    for found in pkgutil.walk_packages(unspool.__path__, "unspool."):
        if not any(part.startswith("_") or part == "notes_program" for part in found.name.split(".")[1:]):
            names.append(found.name)
    return names


def public_names(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """What the module offers: __all__, or what it made itself and names without an underscore."""
    for name in getattr(module, "__all__", [n for n in dir(module) if not n.startswith("_")]):
        value = getattr(module, name)
        if not isinstance(value, ModuleType) and getattr(value, "__module__", "unspool").startswith("unspool"):
            yield name, value


def members(cls: type) -> Iterator[tuple[str, Any]]:
    for name in dir(cls):
        if name.startswith("_") or name in _FOREIGN:
            continue
        value = inspect.getattr_static(cls, name)
        if (
            callable(value)
            or isinstance(value, (property, staticmethod, classmethod))
            or inspect.isdatadescriptor(value)
        ):
            yield name, getattr(cls, name)


@pytest.mark.parametrize("module_name", public_modules())
def test_public_names_have_docstrings(module_name: str) -> None:
    module = importlib.import_module(module_name)
    assert module.__doc__, f"{module_name} has no docstring"
    bare = []
    for name, value in public_names(module):
        if not (inspect.isroutine(value) or isinstance(value, type)):
            continue
        if not (inspect.getdoc(value) or "").strip():
            bare.append(name)
        if isinstance(value, type) and value.__module__.startswith("unspool"):
            bare += [f"{name}.{m}" for m, v in members(value) if not (inspect.getdoc(v) or "").strip()]
    assert bare == []


def test_native_docstrings_open_with_signatures_and_then_say_something() -> None:
    """An editor shows the first lines; what follows them tells the formula, shapes or errors."""
    bare = []
    for name in dir(unspool._core):
        value = getattr(unspool._core, name)
        if name.startswith("_") or not inspect.isbuiltin(value):
            continue
        lines = (value.__doc__ or "").splitlines()
        signatures = [line for line in lines if re.match(rf"{name}\(.*\) *->", line)]
        if not signatures or not "".join(lines[len(signatures) :]).strip():
            bare.append(name)
    assert bare == []
