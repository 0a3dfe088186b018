#!/usr/bin/env bash
# Installs what the tests need, builds the package and runs every test: native ones (ctest), then Python ones (pytest).
#
#   tools/test.sh [--torch] [arguments for pytest]
#
# Everything goes into .venv-test and build/, except a compiler, Python's headers, GoogleTest and Chromium, which come
# from the system's packages where they are missing; tests that open pages are skipped where Chromium can't be had. With
# --torch or UNSPOOL_WITH_TORCH=1 it installs PyTorch 2.13.0 too, which the comparison tests run against, and what else
# benchmarks/ compares with; without it they are skipped. PYTHON names another interpreter, CXX another compiler.
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/system_packages.sh

with_torch=${UNSPOOL_WITH_TORCH:-0}
if [ "${1:-}" = --torch ]; then with_torch=1; shift; fi
python=${PYTHON:-python3}
venv=.venv-test
extras=test,examples,train,log,report
if [ "$with_torch" = 1 ]; then extras+=,torch,bench; fi

need_compiler
need_python "$python"
need_googletest
want_chromium

say "environment $venv"
# An environment of another interpreter, or a half-made one, is made anew.
if ! [ "$("$venv/bin/python" -c 'import sys, pip; print(sys.base_prefix, sys.version)' 2>/dev/null)" = \
       "$("$python" -c 'import sys; print(sys.base_prefix, sys.version)')" ]; then
  rm -rf "$venv" build/test
  "$python" -m venv "$venv"
fi
export PATH="$PWD/$venv/bin:$PATH" PIP_DISABLE_PIP_VERSION_CHECK=1
pip=(python -m pip install --quiet)
"${pip[@]}" 'scikit-build-core>=1' 'pybind11>=3.1' 'cmake>=3.26' ninja

say "build and install ($extras)"
# One build makes the extension module and the native tests, from the same engine.
"${pip[@]}" --no-build-isolation -C build-dir=build/test -C cmake.define.UNSPOOL_BUILD_TESTS=ON ".[$extras]"

say "native tests"
ctest --test-dir build/test --output-on-failure --no-tests=error -j 2 | tee build/test/ctest.log

# Two processes, each with whole files at a time, whose fixtures are made once.
say "Python tests"
python -m pytest -n 2 --dist loadfile "$@" | tee build/test/pytest.log

printf '\n'
grep -h 'tests passed' build/test/ctest.log
tail -n 1 build/test/pytest.log
