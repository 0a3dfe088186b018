"""Memory: no system call in the steady state, no growth, no recursion.

What concerns a whole process runs in a child process, with Python's cyclic collector off: what goes, goes by reference
counts. A child prints measured numbers as JSON; the bounds stand in the tests.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import unspool

MIB = 1 << 20

PRELUDE = """
import gc, json, sys, threading
gc.collect(); gc.disable()
import unspool as torch
from unspool import nn
from unspool.nn import functional as F
from unspool.utils.data import DataLoader, TensorDataset

def resident():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:")) * 1024

def notes(optimizer):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 5))
    data = DataLoader(TensorDataset(torch.randn(100, 10), torch.randn(100, 5)), batch_size=10, shuffle=True)
    if optimizer == "momentum":
        return model, data, torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    return model, data, torch.optim.Adam(model.parameters(), lr=1e-5)

def train(steps, model, data, optimizer, criterion=nn.MSELoss()):
    done = 0
    while done < steps:
        for x, y in data:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
            done += 1
    return loss.item()

class Growth:
    # What happens between here and now(), in bytes and in system calls.
    def __init__(self):
        self.stats, self.resident = torch.memory_stats(), resident()
    def now(self):
        after = torch.memory_stats()
        return {
            "resident": resident() - self.resident,
            "live": after["live_bytes"] - self.stats["live_bytes"],
            "reserved": sum(after[k] - self.stats[k] for k in ("live_bytes", "cached_bytes")),
            "system_calls": after["system_calls"] - self.stats["system_calls"],
        }

def on_small_stack(work):
    # Runs work() on a stack of 1 MiB; what it raises is raised here.
    failed = []
    def run():
        try:
            work()
        except BaseException as error:
            failed.append(error)
    threading.stack_size(1 << 20)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
"""


def child(code: str) -> Any:
    """What the code, run after the prelude, prints as its last line. A crash is an error that tells the signal."""
    package = str(Path(unspool.__file__).resolve().parent.parent)
    env = os.environ | {"PYTHONPATH": os.pathsep.join([package, os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PRELUDE + code], capture_output=True, text=True, check=False, env=env
    )
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stderr[-2000:]}"
    return json.loads(done.stdout.splitlines()[-1])


def assert_no_growth(growth: dict[str, int]) -> None:
    assert growth["live"] < MIB, growth
    assert growth["reserved"] < MIB, growth
    assert growth["resident"] < MIB, growth


# --- the steady state ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
def test_a_thousand_steps_ask_the_system_for_nothing(optimizer: str) -> None:
    """After a warm-up of three epochs, DataLoader included; nor does a single byte stay live."""
    code = f"""
task = notes({optimizer!r})
train(30, *task)
growth = Growth()
final = train(1000, *task)
print(json.dumps(growth.now() | {{"final": final, "calls": torch.memory_stats()["system_calls"]}}))
"""
    growth = child(code)
    assert growth["system_calls"] == 0, growth
    assert growth["live"] == 0, growth
    assert growth["calls"] > 0  # the counter counts
    assert 0.0 < growth["final"] < 10.0


STEADY = {
    "elementwise": "y = (x * 2.0 + x).exp().sum(); y.backward(); x.grad = None",
    "twice differentiated": (
        "g, = torch.autograd.grad((x.tanh() * x).sum(), x, create_graph=True)\n"
        "    (g * g).sum().backward(); x.grad = None"
    ),
    "gradient kept and zeroed": "(x * x).sum().backward(); x.grad.zero_()",
    "written in place": "y = x * 1.0; y.mul_(2.0); y.add_(x); y.exp_(); y.sum().backward(); x.grad = None",
    # Its record must not hold its own result: that would be a cycle that nobody frees.
    "multiplied in place by itself": "y = x * 1.0; y.add_(y); y.mul_(y); y.sum().backward(); x.grad = None",
    "multiplied in place by itself, dropped": "y = x * 1.0; y.mul_(y); y[0].mul_(y[0])",
    "written through views": "y = x * 1.0; y[0].mul_(2.0); y[1:].zero_(); y.view(-1).sum().backward(); x.grad = None",
    "views of views": "x.t()[1:].t().reshape(-1)[2:].sum().backward(); x.grad = None",
    "cat of many": "torch.cat([x, x, x, x, x, x]).sum().backward(); x.grad = None",
    "classification": "F.cross_entropy(x, labels).backward(); x.grad = None",
    "dropped without backward": "y = (x @ x.t()).softmax(1).log().sum()",
    "an error in the middle": (
        "y = x.exp(); z = y * y; y.add_(1.0)\n"
        "    try:\n"
        "        z.sum().backward()\n"
        "    except RuntimeError:\n"
        "        pass\n"
        "    else:\n"
        "        raise SystemExit('no error')"
    ),
    "shapes that do not fit": (
        "try:\n"
        "        x * 2.0 + torch.ones(7)\n"
        "    except RuntimeError:\n"
        "        pass\n"
        "    else:\n"
        "        raise SystemExit('no error')"
    ),
}


@pytest.mark.parametrize("name", sorted(STEADY))
def test_nothing_stays(name: str) -> None:
    """Rounds of what a program may do, one kind a case: live bytes and system calls stand still."""
    code = f"""
x = torch.randn(8, 9, requires_grad=True)
labels = torch.arange(8)
def one_round():
    {STEADY[name]}
for _ in range(300):
    one_round()
growth = Growth()
for _ in range(3000):
    one_round()
print(json.dumps(growth.now()))
"""
    growth = child(code)
    assert growth["live"] == 0, growth
    assert growth["system_calls"] == 0, growth
    assert growth["resident"] < MIB, growth


def test_growth_is_seen() -> None:
    """The measure itself: 4,000 losses that are kept, graphs and all, are a growth of each kind."""
    code = """
task = notes("momentum")
train(30, *task)
growth = Growth()
x = torch.randn(10, 10)
kept = [task[0](x).sum() for _ in range(4000)]
print(json.dumps(growth.now()))
"""
    growth = child(code)
    assert growth["live"] > MIB
    assert growth["reserved"] > MIB
    assert growth["resident"] > MIB
    assert growth["system_calls"] > 0


# --- long runs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
def test_100_000_training_steps_do_not_grow(optimizer: str) -> None:
    code = f"""
task = notes({optimizer!r})
train(1000, *task)
growth = Growth()
train(100_000, *task)
print(json.dumps(growth.now()))
"""
    growth = child(code)
    assert_no_growth(growth)
    assert growth["live"] == 0


FORWARD = {
    # The notes' network costs some 5 µs a forward pass; results are dropped as the name is bound anew.
    "network": "y = model(x)",
    # Two ops, whose graph goes with the next y.
    "two ops": "y = w * 0.5 + w",
}


@pytest.mark.parametrize("name", sorted(FORWARD))
def test_1_000_000_forward_steps_do_not_grow(name: str) -> None:
    """Without no_grad: each graph goes when its result does, for no list of nodes holds it."""
    code = f"""
model = notes("momentum")[0]
x = torch.randn(10, 10)
w = torch.randn(10, requires_grad=True)
def forward(steps):
    for _ in range(steps):
        {FORWARD[name]}
    return y
assert forward(1000).requires_grad
growth = Growth()
forward(1_000_000)
print(json.dumps(growth.now()))
"""
    assert_no_growth(child(code))


def test_double_backward_does_not_grow() -> None:
    """A gradient penalty: the graph of a gradient holds the graph, and both go."""
    code = """
model, data, optimizer = notes("momentum")
x, y = torch.randn(10, 10), torch.randn(10, 5)
def penalty(steps):
    for _ in range(steps):
        inputs = x.clone().requires_grad_()
        loss = F.mse_loss(model(inputs), y)
        g, = torch.autograd.grad(loss, inputs, create_graph=True)
        optimizer.zero_grad()
        (loss + (g * g).sum()).backward()
        optimizer.step()
penalty(500)
growth = Growth()
penalty(10_000)
print(json.dumps(growth.now()))
"""
    growth = child(code)
    assert_no_growth(growth)
    assert growth["live"] == 0
    assert growth["system_calls"] == 0


# --- a million operations on a small stack -------------------------------------------------------------------------

CHAINS = {
    "maps": "y = y + 1.0",
    "maps of two": "y = y * x",
    "views": "y = y.view(1, 2).view(2)",
    "mixed": "y = (y.unsqueeze(0) * 1.0).reshape(2)",
    "in place": "y.add_(1.0)",
    "in place by a tensor": "y.mul_(x)",
    "in place through a view": "y[0].add_(1.0)",
}
PER_STEP = {"views": 2, "mixed": 3, "in place through a view": 2}


@pytest.mark.parametrize("name", sorted(CHAINS))
@pytest.mark.parametrize("end", ["backward", "retained backward", "dropped"])
def test_a_million_operations_on_a_1_mib_stack(name: str, end: str) -> None:
    """Recorded, rewound and released, or recorded and released, without recursion."""
    steps = 1_000_000 // PER_STEP.get(name, 1) + 1
    last = {
        "backward": "y.sum().backward()",
        "retained backward": "y.sum().backward(retain_graph=True)",
        "dropped": "x.grad = torch.ones(2)",
    }[end]
    code = f"""
x = torch.ones(2, requires_grad=True)
live = torch.memory_stats()["live_bytes"]
held = []
def work():
    y = x * 1.0
    for _ in range({steps}):
        {CHAINS[name]}
    held.append(torch.memory_stats()["live_bytes"] - live)
    {last}
    del y
on_small_stack(work)
grad = x.grad.tolist()
x.grad = None
left = torch.memory_stats()["live_bytes"] - live
print(json.dumps({{"held": held[0], "left": left, "grad": grad}}))
"""
    result = child(code)
    assert result["held"] > 64 * 1_000_000  # the chain was all there
    assert result["left"] == 0
    if end == "dropped" or name not in ("maps of two", "in place by a tensor"):
        assert result["grad"] == [1.0, 1.0]
    else:
        assert result["grad"] == [steps + 1.0, steps + 1.0]


def test_a_million_fold_sum_on_a_1_mib_stack() -> None:
    """A wide graph: one leaf with a million consumers, and a chain that adds them up."""
    code = """
x = torch.ones(2, requires_grad=True)
live = torch.memory_stats()["live_bytes"]
def work():
    y = torch.zeros(2)
    for _ in range(500_000):
        y = y + x * 2.0
    y.sum().backward()
on_small_stack(work)
grad = x.grad.tolist()
x.grad = None
print(json.dumps({"left": torch.memory_stats()["live_bytes"] - live, "grad": grad}))
"""
    assert child(code) == {"left": 0, "grad": [1e6, 1e6]}


def test_a_graph_dies_in_another_thread() -> None:
    """Made in one thread, rewound in a second, dropped in a third: the memory is the engine's again, and is reused."""
    code = """
x = torch.ones(2, requires_grad=True)
def in_thread(work):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
def one_round():
    box = []
    def make():
        y = x
        for _ in range(10_000):
            y = y * 1.0
        box.append(y.sum())
    in_thread(make)
    in_thread(lambda: box[0].backward(retain_graph=True))
    in_thread(box.clear)
for _ in range(5):
    one_round()
growth = Growth()
for _ in range(50):
    one_round()
print(json.dumps(growth.now()))
"""
    growth = child(code)
    assert growth["live"] == 0, growth
    assert growth["reserved"] < MIB, growth


def test_empty_cache_gives_back() -> None:
    code = """
x = torch.randn(1000, 1000)
y = [torch.randn(4) for _ in range(50_000)]
before = torch.memory_stats()
del x, y
freed = torch.memory_stats()
torch.empty_cache()
print(json.dumps([before, freed, torch.memory_stats()]))
"""
    before, freed, after = child(code)
    assert before["live_bytes"] - freed["live_bytes"] > 4_000_000 + 50_000 * 128
    assert freed["cached_bytes"] > 4_000_000 + 50_000 * 128
    assert after["cached_bytes"] < MIB
    assert after["live_bytes"] == freed["live_bytes"]


def test_peak_is_tracked() -> None:
    code = """
torch.reset_peak_memory_stats()
start = torch.memory_stats()
x = torch.empty(1000, 1000)
del x
high = torch.memory_stats()
torch.reset_peak_memory_stats()
print(json.dumps([start, high, torch.memory_stats()]))
"""
    start, high, reset = child(code)
    assert start["peak_bytes"] == start["live_bytes"]
    assert high["peak_bytes"] - start["live_bytes"] >= 4_000_000
    assert reset["peak_bytes"] == reset["live_bytes"] == start["live_bytes"]
