"""What `import unspool` costs over `import numpy`, in fresh processes; with --wheel, how large the wheel is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import harness

LIMIT_SECONDS = 0.040
LIMIT_WHEEL_BYTES = 3_000_000
CODE = """
import json, os, sys, time
os.sched_setaffinity(0, {%d})
start = time.perf_counter()
import numpy
middle = time.perf_counter()
import unspool
end = time.perf_counter()
import unspool.nn, unspool.optim.lr_scheduler, unspool.utils.data
last = time.perf_counter()
versions = {"unspool": unspool.__version__, "numpy": numpy.__version__}
print(json.dumps({"numpy": middle - start, "unspool": end - middle, "submodules": last - end, "versions": versions}))
"""


def main() -> None:
    parser = harness.arguments(__doc__)
    parser.add_argument("--wheel", type=Path, help="a built wheel")
    parser.add_argument("--enforce", action="store_true", help="exit 1 where a limit is passed")
    args = parser.parse_args()

    command, env = [sys.executable, "-c", CODE % args.cpu], harness.peer_environment()
    runs = []
    for _ in range(args.rounds + 1):  # the first one fills the disk's cache and writes the byte code
        runs.append(json.loads(subprocess.run(command, env=env, check=True, capture_output=True).stdout))
    runs = runs[1:]
    result = {"benchmark": "import_time", "machine": harness.machine(args.cpu), "versions": runs[0]["versions"]}
    harness.print_machine(result["machine"])
    imports = {
        "numpy": f"numpy {runs[0]['versions']['numpy']}",
        "unspool": f"unspool {runs[0]['versions']['unspool']}",
        "submodules": "unspool's nn, optim and utils.data, which load on first use",
    }
    for name, what in imports.items():
        s = result[name] = harness.spread([run[name] for run in runs])
        print(
            f"import {what}: {harness.duration(s['median'])} "
            f"(all {harness.duration(s['least'])} to {harness.duration(s['most'])}, {len(runs)} processes)"
        )
    met = result["unspool"]["median"] + result["submodules"]["median"] <= LIMIT_SECONDS
    print(f"for both, at most {harness.duration(LIMIT_SECONDS)} over numpy is wanted: {'met' if met else 'NOT met'}")
    if args.wheel:
        size = result["wheel_bytes"] = os.path.getsize(args.wheel)
        small = size <= LIMIT_WHEEL_BYTES
        print(f"wheel: {size:,} bytes; at most {LIMIT_WHEEL_BYTES:,} are wanted: {'met' if small else 'NOT met'}")
        met = met and small
    harness.write_json(args.json, result)
    if args.enforce and not met:
        sys.exit(1)


if __name__ == "__main__":
    main()
