"""The floating-point control words (x87's and MXCSR) are the program's own: no import and no operation changes them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, threading
libm = ctypes.CDLL("libm.so.6")

def words():
    # glibc's fenv_t on x86-64: x87's control word first, MXCSR at byte 28, whose low six bits arithmetic sets
    environment = (ctypes.c_ubyte * 32)()
    assert libm.fegetenv(environment) == 0
    raw = bytes(environment)
    return int.from_bytes(raw[:2], "little"), int.from_bytes(raw[28:32], "little") & ~0x3F

before = words()
import unspool as torch
assert words() == before, "import"
torch._core._set_parallel_threshold(0)
torch.set_num_threads(3)

def train():
    assert words() == before, "a new thread"
    model = torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    update = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(100):
        update.zero_grad()
        (model(torch.ones(4, 5)) * 1e-30).exp().sum().backward()
        update.step()
        assert words() == before, "a step"

threads = [threading.Thread(target=train) for _ in range(3)]
failed = []
threading.excepthook = lambda e: failed.append(e.exc_value)
for t in threads: t.start()
for t in threads: t.join()
train()
assert not failed, failed
print("same")
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads glibc's fenv_t")
def test_control_words_stay_as_they_were() -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=env, capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("same\n", "")
