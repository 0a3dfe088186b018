#!/usr/bin/env bash
# Builds the sdist, builds a wheel from it (never from the checkout), checks the wheel's size, and tries the wheel in
# empty environments: the default Python's, and, built from the sdist too, any other supported one found on the machine.
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/system_packages.sh

limit=3000000
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PIP_DISABLE_PIP_VERSION_CHECK=1

# smoke PYTHON WHEEL [EMULATOR...]: a fresh environment with nothing but the wheel and what it asks for
smoke() {
  local env="$work/env-$RANDOM"
  "$1" -m venv "$env"
  "$env/bin/python" -m pip install --quiet "$2"
  ( cd "$work" && "${@:3}" "$env/bin/python" -W error - <<'PY'
import importlib.metadata, platform
import unspool as torch, unspool.nn as nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
x = torch.randn(32, 4)
y = x.sum(1, keepdim=True)
losses = []
for _ in range(50):
    optimizer.zero_grad()
    loss = nn.functional.mse_loss(model(x), y)
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
assert losses[-1] < 0.1 * losses[0], losses
assert torch.__version__ == importlib.metadata.version("unspool")
others = sorted({d.metadata["Name"].lower() for d in importlib.metadata.distributions()} - {"pip", "setuptools"})
assert others == ["numpy", "unspool"], others
isa = torch.show_config().split("instruction set: ")[1].split()[0]
print(
    f"smoke test: unspool {torch.__version__} on Python {platform.python_version()}, instruction set {isa}, "
    f"loss {losses[0]:.3f} to {losses[-1]:.3f}"
)
PY
  )
}

# build_wheel PYTHON SDIST OUT: in an environment that pip makes and drops. The build folder is as deep as that of
# tools/test.sh, so that ccache sees the same relative paths.
build_wheel() {
  "$1" -m venv "$work/build-$RANDOM-env" # a pip of its own
  local pip
  pip=$(ls -td "$work"/build-*-env | head -1)/bin/python
  "$pip" -m pip wheel --quiet --no-deps -C build-dir=build/wheel --wheel-dir "$3" "$2"
}

python=$(python -c 'import os, sys; print(os.path.realpath(sys.executable))')
say "sdist"
python -m build --sdist --outdir "$work/dist" . >"$work/sdist.log" 2>&1 || { cat "$work/sdist.log"; exit 1; }
sdist=$(ls "$work"/dist/*.tar.gz)
printf '%s: %d bytes\n' "$(basename "$sdist")" "$(stat -c %s "$sdist")"

say "wheel from the sdist"
build_wheel "$python" "$sdist" "$work/wheel"
wheel=$(ls "$work"/wheel/*.whl)
size=$(stat -c %s "$wheel")
printf '%s: %d bytes (at most %d)\n' "$(basename "$wheel")" "$size" "$limit"
[ "$size" -le "$limit" ] || die "the wheel is too large"
smoke "$python" "$wheel"

say "a CPU without AVX (Nehalem, emulated)"
need_qemu
# A core type that the machine's owner has set would hold for the emulated CPU, too: NumPy's OpenBLAS would run AVX2 on it.
smoke "$python" "$wheel" env -u OPENBLAS_CORETYPE qemu-x86_64 -cpu Nehalem | tee "$work/nehalem.log"
grep -q 'instruction set generic' "$work/nehalem.log" || die "the emulated CPU did not run the generic kernels"

if [ "${UNSPOOL_SMOKE_ALL:-0}" = 1 ]; then
  mine=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  for version in 3.10 3.11 3.12 3.13 3.14; do
    [ "$version" != "$mine" ] || continue
    for other in "$(command -v "python$version" || true)" "$HOME"/.pyenv/versions/"$version".*/bin/python; do
      if [ -x "$other" ] && "$other" -c "import ensurepip, sys; sys.exit('%d.%d' % sys.version_info[:2] != '$version')" 2>/dev/null; then
        say "Python $version"
        build_wheel "$other" "$sdist" "$work/wheel-$version"
        smoke "$other" "$work/wheel-$version"/*.whl
        break
      fi
    done
  done
fi
