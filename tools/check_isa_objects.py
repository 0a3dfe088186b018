"""Checks that the objects compiled for an instruction set define no weak symbol.

    python tools/check_isa_objects.py BUILD

An inline function or template instance compiled into an AVX-512 object is a weak symbol, and the linker may take that
copy for the whole program, which then dies on a CPU without AVX-512. Such code belongs in an unnamed namespace.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path


def main() -> None:
    objects = sorted(Path(sys.argv[1]).glob("CMakeFiles/unspool_*.dir/**/*_isa.cpp.o"))
    if not objects:
        sys.exit(f"{sys.argv[1]} holds no objects of *_isa.cpp")
    weak = 0
    for path in objects:
        listing = subprocess.run(
            ["nm", "--defined-only", "--demangle", path], capture_output=True, text=True, check=True
        )
        for line in listing.stdout.splitlines():
            match = re.match(r"[0-9a-f]+ ([VvWwu]) (.+)", line)
            if match:
                weak += 1
                print(f"{path.relative_to(sys.argv[1])}: weak: {match.group(2)}")
    print(f"{len(objects)} objects, {weak} weak symbols")
    sys.exit(bool(weak))


if __name__ == "__main__":
    main()
