"""Graphs of graphs, hooks that hold what they are hooked to, and double backward leave nothing behind, without the
collector's help. PyTorch leaks where a gradient has a graph. `UNSPOOL_LEAK_ROUNDS=100000` runs the whole measure."""

from __future__ import annotations

import os
import subprocess
import sys

ROUNDS = int(os.environ.get("UNSPOOL_LEAK_ROUNDS", "3000"))

PROGRAM = """
import gc, resource, sys
import unspool as torch
from unspool import nn

gc.disable()
model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
x = torch.randn(5, 4, requires_grad=True)
optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
seen = []

def one_round(i):
    kept = []
    y = model(x * 1.0)
    y.register_hook(lambda g: kept.append((g, y)) or g)        # captures the output that it hooks
    y.grad_fn.register_hook(lambda gi, go: kept.append(y))
    handle = model[0].register_forward_hook(lambda m, a, out: (out.register_hook(lambda g: kept.append(out)), None)[1])
    z = model(x)
    handle.remove()
    loss = (y ** 2).sum() + (z ** 2).sum()
    loss.backward(create_graph=True)                            # gradients with graphs, which hold the parameters
    penalty = sum((p.grad ** 2).sum() for p in model.parameters()) + (x.grad ** 2).sum()
    penalty.backward()
    (g,) = torch.autograd.grad((model(x) ** 3).sum(), x, create_graph=True)
    g.retain_grad()
    (g ** 2).sum().backward()
    g.extra = [g, kept]                                         # a cycle through an attribute of a result
    del g.extra
    optimizer.step()
    if i % 2:
        optimizer.zero_grad()
        x.grad = None
    else:
        optimizer.zero_grad(set_to_none=False)
        x.grad = None
    kept.clear()

def rss():
    pages = int(open("/proc/self/statm").read().split()[1])
    return pages * resource.getpagesize()

rounds = int(sys.argv[1])
for i in range(min(500, rounds // 4)):
    one_round(i)
live = torch.memory_stats()["live_bytes"]
before = rss()
for i in range(rounds):
    one_round(i)
print(rss() - before, torch.memory_stats()["live_bytes"] - live)
"""


def test_nothing_is_left_behind() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(ROUNDS)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    grown, live = map(int, done.stdout.split())
    assert live <= 0, f"{live} bytes of tensors more after {ROUNDS} rounds"
    assert grown < 1 << 20, f"the process grew by {grown} bytes in {ROUNDS} rounds"
