# Sourced by test.sh and .ci/run: finds what only the system's package manager can give, and installs it with apt
# where that is possible (as root, or through sudo); otherwise it stops and says what to install.

say() { printf '\n== %s\n' "$*"; }
die() { printf '%s\n' "$*" >&2; exit 1; }

apt_install() {
  local sudo=()
  if [ "$(id -u)" -ne 0 ]; then sudo=(sudo); fi
  if ! command -v apt-get >/dev/null || { [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; }; then
    die "Missing, and not installable from here: $*. Install these packages (Debian's names) and run this again."
  fi
  say "installing $*"
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# compiles WHAT: does the program on standard input compile and link with the given command?
compiles() {
  local dir ok=0
  dir=$(mktemp -d)
  cat >"$dir/a.cpp"
  ( cd "$dir" && "$1" -std=c++20 a.cpp -o a "${@:2}" ) >/dev/null 2>&1 || ok=1
  rm -rf "$dir"
  return $ok
}

cxx20_program='#include <concepts>
#include <span>
template <std::integral T> T f(T x) { return x; }
int main() { return f(0); }'

need_compiler() {
  compiles "${CXX:-c++}" <<<"$cxx20_program" && return
  [ -z "${CXX:-}" ] || die "CXX=$CXX does not compile C++20. Name GCC 12 or Clang 14, or later, or unset CXX."
  apt_install g++
  compiles c++ <<<"$cxx20_program" || die "c++ does not compile C++20: install GCC 12 or Clang 14, or later."
}

need_googletest() {
  compiles "${CXX:-c++}" -lgtest -lgtest_main -pthread \
    <<<'#include <gtest/gtest.h>
TEST(a, b) {}' && return
  apt_install libgtest-dev
}

# For the tests that open pages, which are skipped where it can't be had.
want_chromium() {
  command -v chromium >/dev/null || command -v google-chrome >/dev/null && return
  ( apt_install chromium ) || say "no chromium: the tests that open pages in a browser are skipped"
}

# Sets `clangxx` to a Clang of at least 14.
need_clang() {
  local name version
  for _ in 1 2; do
    for name in clang++ clang++-{22,21,20,19,18,17,16,15,14}; do
      version=$("$name" -dumpversion 2>/dev/null) || continue
      if [ "${version%%.*}" -ge 14 ] && compiles "$name" <<<"$cxx20_program"; then
        clangxx=$(command -v "$name")
        return
      fi
    done
    apt_install clang
  done
  die "No Clang of version 14 or later compiles C++20 here."
}

# Only saves time.
want_ccache() {
  command -v ccache >/dev/null || ( apt_install ccache ) || { say "no ccache: the engine is compiled twice"; return 1; }
}

# An emulator that runs a program of this machine as an older CPU.
need_qemu() {
  command -v qemu-x86_64 >/dev/null || apt_install qemu-user
}

# need_python PYTHON: one with venv, pip and the headers that extension modules need.
need_python() {
  if ! command -v "$1" >/dev/null; then apt_install python3 python3-venv python3-dev; fi
  if ! "$1" -c 'import ensurepip, venv' 2>/dev/null; then apt_install python3-venv; fi
  if ! "$1" -c 'import os, sysconfig, sys; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))'; then
    apt_install python3-dev
  fi
  "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || die "unspool needs Python 3.10 or later; $1 is older."
}
