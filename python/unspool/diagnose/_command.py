"""`python -m unspool diagnose module:function`, for a program's own model, and for CI."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from typing import Any

__all__ = ["STATUS", "add_to"]

STATUS = {"": 0, "info": 0, "warning": 3, "error": 4}
_BATCH = 256
_NEAREST = str.maketrans("→×…·", ">x~*")


def _function(name: str) -> Any:
    """What makes the arguments of `diagnose`: a model, or (model, x), (model, x, y), (model, x, y, loss)."""
    module, colon, function = name.partition(":")
    if not colon or not module or not function:
        raise ValueError(f"diagnose: expected module:function, got {name!r}")
    try:
        found = getattr(import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"diagnose: {name}: {error}") from error
    if not callable(found):
        raise ValueError(f"diagnose: {name} is not a function but of type {type(found).__name__}")
    return found


def _with_batch(name: str, made: Any) -> tuple[Any, ...]:
    """The arguments of `diagnose`: what the function `name` made, with a normal batch for a model that comes alone, of
    as many features as its first linear layer reads."""
    from unspool import randn
    from unspool.diagnose.parts import is_linear
    from unspool.nn import Module

    if isinstance(made, tuple) and 1 < len(made) <= 4:
        return made
    model = made[0] if isinstance(made, tuple) and len(made) == 1 else made
    if not isinstance(model, Module):
        got = f"a tuple of {len(made)}" if isinstance(made, tuple) else type(made).__name__
        raise TypeError(
            f"diagnose: {name} must return a model, (model, x), (model, x, y) or (model, x, y, loss), got {got}"
        )
    first = next((m for m in model.modules() if is_linear(m)), None)
    return model, randn(_BATCH, 1 if first is None else first.weight.shape[1])


def _writable(text: str) -> str:
    """`text` as standard output can encode it, so that a log in ASCII gets the report: signs of its own become the
    nearest letter, what else can't be encoded a ?."""
    encoding = sys.stdout.encoding or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(_NEAREST).encode(encoding, "replace").decode(encoding)
    return text


def run(args: argparse.Namespace) -> int:
    """Print the report; the exit status says how bad it is."""
    from unspool import diagnose, manual_seed

    try:
        make = _function(args.model)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    manual_seed(args.seed)
    made = make()
    try:
        report = diagnose(*_with_batch(args.model, made), shadow=args.shadow, curvature=args.curvature)
    except (TypeError, ValueError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 2
    print(_writable(report.to_json(indent=2) if args.json else str(report)))
    try:
        if args.save:
            report.save(args.save)
    except (ImportError, OSError, ValueError) as error:
        print(f"diagnose: {error}", file=sys.stderr)
        return 2
    return STATUS[report.severity]


def add_to(commands: Any) -> None:
    """Add the command to those of `python -m unspool`."""
    parser = commands.add_parser(
        "diagnose",
        help="what a model's initialisation does to a batch",
        description="Calls the function, which returns a model, (model, x), (model, x, y) or (model, x, y, loss), and "
        f"diagnoses the model's initialisation; a model alone gets {_BATCH} normal examples. Exit status: 0 healthy, 3 "
        "warnings, 4 errors, 1 or 2 where it could not run.",
    )
    parser.add_argument("model", metavar="module:function")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--save", metavar="PAGE.html", help="write a page with pictures, too (needs matplotlib)")
    parser.add_argument("--shadow", action="store_true", help="run in float64, too")
    parser.add_argument("--curvature", action="store_true", help="estimate the largest curvature of the loss")
    parser.add_argument("--seed", type=int, default=0, help="of the random stream (0)")
    parser.set_defaults(run=run)
