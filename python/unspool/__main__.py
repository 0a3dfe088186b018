"""The command line: `python -m unspool info`, `check`, `demo`, `diagnose`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path


def _info(args: argparse.Namespace) -> int:
    from unspool.__config__ import show

    print(show(), end="")
    return 0


def _check(args: argparse.Namespace) -> int:
    from unspool._selfcheck import run

    return run()


def _demo(args: argparse.Namespace) -> int:
    """Run the program as its author would, a seed before it."""
    import unspool

    source = Path(__file__).with_name("notes_program.py").read_text(encoding="utf-8")
    if args.show:
        print(source, end="")
        return 0
    unspool.manual_seed(args.seed)
    exec(compile(source, "notes_program.py", "exec"), {"__name__": "__main__"})
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status: 0, 1 where a check failed, 2 (from argparse) for arguments that mean nothing."""
    parser = argparse.ArgumentParser(
        prog="python -m unspool", description="What this unspool is, and whether it works."
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    info = commands.add_parser("info", help="version, compiler, instruction set, threads, NumPy, Python")
    info.set_defaults(run=_info)
    check = commands.add_parser(
        "check",
        help="check this build on this machine, in a second",
        description="Checks this build on this machine, in about a second. Exit status 1 where something is wrong.",
    )
    check.set_defaults(run=_check)
    demo = commands.add_parser(
        "demo",
        help="train a small network and print its losses",
        description="Runs README's program: a network with two hidden layers, trained for 100 epochs. It prints the "
        "loss of each, the lines that PyTorch 2.13 prints for the same seed.",
    )
    demo.add_argument("--seed", type=int, default=0, help="of the random stream (0)")
    demo.add_argument("--show", action="store_true", help="print the program instead of running it")
    demo.set_defaults(run=_demo)
    from unspool.diagnose._command import add_to

    add_to(commands)
    args = parser.parse_args(argv)
    status: int = args.run(args)
    return status


if __name__ == "__main__":
    sys.exit(main())
