"""Runs clang-tidy on the engine's and the bindings' sources, as many at a time as there are CPUs.

    python tools/tidy.py BUILD [FILE ...]     BUILD holds compile_commands.json; all of cpp/ unless files are named

A source that is compiled several times (*_isa.cpp) is read once, as compiled for the widest instruction set.
"""

from __future__ import annotations

import concurrent.futures
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def commands(build: Path, wanted: list[Path]) -> list[dict[str, str]]:
    """One entry of the compilation database a source; of several, the last (AVX-512)."""
    entries = json.loads((build / "compile_commands.json").read_text(encoding="utf-8"))
    by_file = {Path(entry["file"]).resolve(): entry for entry in entries}
    inside = [path for path in by_file if path.is_relative_to(ROOT / "cpp")]
    return [by_file[path] for path in sorted(wanted or inside)]


def main() -> None:
    build, *names = sys.argv[1:]
    entries = commands(Path(build), [Path(name).resolve() for name in names])
    if not entries:
        sys.exit(f"{build}/compile_commands.json names no source below cpp/")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "compile_commands.json").write_text(json.dumps(entries), encoding="utf-8")

        def tidy(entry: dict[str, str]) -> tuple[str, float, subprocess.CompletedProcess[str]]:
            start = time.monotonic()
            command = ["clang-tidy", "--quiet", "-p", folder, "--extra-arg=-Wno-unknown-warning-option", entry["file"]]
            done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
            return entry["file"], time.monotonic() - start, done

        failed = 0
        with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            for file, seconds, done in pool.map(tidy, entries):
                ok = done.returncode == 0
                failed += not ok
                print(f"{'ok  ' if ok else 'FAIL'} {seconds:5.1f} s  {Path(file).relative_to(ROOT)}", flush=True)
                if not ok:
                    print(done.stdout, done.stderr, sep="\n", flush=True)
    print(f"clang-tidy: {len(entries)} sources, {failed} with findings")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
