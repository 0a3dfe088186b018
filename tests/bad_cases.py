"""A table of malformed calls, filled row by row by bad_tensor_calls.py and bad_training_calls.py."""

from __future__ import annotations

from typing import Any, NamedTuple

VALUE, TYPE, RUNTIME, INDEX, KEY, ATTRIBUTE = ValueError, TypeError, RuntimeError, IndexError, KeyError, AttributeError


class Case(NamedTuple):
    name: str
    code: str
    errors: tuple[type[BaseException], ...]
    words: tuple[str, ...]
    setup: str = ""


class Cases(list[Case]):
    def bad(self, name: str, code: str, errors: Any, *words: str, setup: str = "") -> None:
        errors = errors if isinstance(errors, tuple) else (errors,)
        self.append(Case(name, code, errors, words, setup))
