"""Threads: how many there are, equal bits for any number of them, forks, several Python threads at once."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import pytest

import unspool
from unspool import _core


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    before = unspool.get_num_threads()
    yield
    unspool.set_num_threads(before)
    _core._set_parallel_threshold(None)


def test_number_of_threads_is_what_was_set() -> None:
    for n in (1, 5, 2):
        unspool.set_num_threads(n)
        assert unspool.get_num_threads() == n
        assert f"threads: {n}\n" in unspool.show_config()
    assert unspool.get_num_interop_threads() == 1


BAD_COUNTS = (0, -1, 1.5, "a", True, None, 2**40, 2**70)


@pytest.mark.parametrize("n", BAD_COUNTS, ids=repr)
def test_bad_number_of_threads(n: Any, torch: ModuleType) -> None:
    before = unspool.get_num_threads()
    with pytest.raises((RuntimeError, ValueError)) as theirs:
        torch.set_num_threads(n)
    with pytest.raises(theirs.type, match=r"^set_num_threads: n .*, got ") as ours:
        unspool.set_num_threads(n)
    assert repr(n) in str(ours.value)
    assert unspool.get_num_threads() == before


def of_a_fresh_process(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **environment, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=120)


def test_environment_sets_the_number() -> None:
    program = "import unspool; print(unspool.get_num_threads())"
    assert of_a_fresh_process(program, UNSPOOL_NUM_THREADS="3").stdout == "3\n"
    default = int(of_a_fresh_process(program, UNSPOOL_NUM_THREADS="").stdout)
    assert 1 <= default <= len(os.sched_getaffinity(0))
    one_cpu = f"import os; os.sched_setaffinity(0, {{{min(os.sched_getaffinity(0))}}}); {program}"
    assert of_a_fresh_process(one_cpu, UNSPOOL_NUM_THREADS="").stdout == "1\n"


@pytest.mark.parametrize("value", ["0", "-2", "many", "1.5"])
def test_environment_with_a_bad_number_is_an_error_of_the_import(value: str) -> None:
    done = of_a_fresh_process("import unspool", UNSPOOL_NUM_THREADS=value)
    assert done.returncode != 0
    assert f"ImportError: UNSPOOL_NUM_THREADS: must be a positive integer, got '{value}'" in done.stderr


# ---- Equal bits -----------------------------------------------------------------------------------------


def net(sizes: list[int]) -> Any:
    layers: list[Any] = []
    for a, b in itertools.pairwise(sizes):
        layers += [unspool.nn.Linear(a, b), unspool.nn.ReLU()]
    return unspool.nn.Sequential(*layers[:-1])


def trained(sizes: list[int], batch: int, steps: int, optimizer: str) -> bytes:
    """The bits of all parameters and losses of a training run."""
    unspool.manual_seed(0)
    model = net(sizes)
    if optimizer == "SGD":
        update = unspool.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    else:
        update = unspool.optim.Adam(model.parameters(), lr=1e-3)
    x = unspool.randn(4 * batch, sizes[0])
    labels = unspool.randint(0, sizes[-1], (4 * batch,))
    losses = []
    for step in range(steps):
        rows = slice(step % 4 * batch, (step % 4 + 1) * batch)
        update.zero_grad()
        loss = unspool.nn.functional.cross_entropy(model(x[rows]), labels[rows])
        loss.backward()
        update.step()
        losses.append(loss.detach())
    return b"".join(t.detach().numpy().tobytes() for t in [*model.parameters(), unspool.stack(losses)])


@pytest.mark.parametrize(
    ("sizes", "batch", "optimizer"),
    [([10, 40, 40, 5], 10, "SGD"), ([10, 40, 40, 5], 10, "Adam"), ([784, 256, 256, 10], 128, "SGD")],
    ids=["small-SGD", "small-Adam", "large-SGD"],
)
def test_a_thousand_steps_have_the_same_bits_with_any_number_of_threads(
    sizes: list[int], batch: int, optimizer: str
) -> None:
    unspool.set_num_threads(1)
    expected = trained(sizes, batch, 1000, optimizer)
    _core._set_parallel_threshold(0)
    for threads in (1, 2, 3, 4, 7, 8):
        unspool.set_num_threads(threads)
        _core._workers_that_ran(reset=True)
        assert trained(sizes, batch, 1000, optimizer) == expected, threads
        assert _core._workers_that_ran() == threads - 1
    _core._set_parallel_threshold(None)
    for threads in (2, 3):  # shared or not, as the sizes and the system have it
        unspool.set_num_threads(threads)
        assert trained(sizes, batch, 1000, optimizer) == expected, threads


def awkward(shape: tuple[int, ...], dtype: Any = unspool.float32) -> list[Any]:
    """The same numbers contiguous, transposed in memory, and as every other column of more."""
    x = (unspool.randn(shape) * 3).to(dtype)
    swapped = x.transpose(0, -1).contiguous().transpose(0, -1)
    wide = unspool.zeros((*shape[:-1], 2 * shape[-1]), dtype=dtype)
    wide[..., ::2] = x
    return [x, swapped, wide[..., ::2]]


OPERATIONS: dict[str, Callable[[Any], Any]] = {
    "map of one": lambda x: x.exp(),
    "map of two": lambda x: x + x.flip(0),
    "broadcast": lambda x: x * x[:1],
    "comparison": lambda x: x > 0.5,
    "where": lambda x: unspool.where(x > 0, x, x * 2),
    "in place": lambda x: x.clone().mul_(x),
    "relu": lambda x: x.relu(),
    "copy": lambda x: x.transpose(0, -1).contiguous(),
    "cast": lambda x: x.to(unspool.float64),
    "fill": lambda x: unspool.full_like(x, 2.5),
    "sum of all": lambda x: x.sum(),
    "sum of rows": lambda x: x.sum(-1),
    "sum of columns": lambda x: x.sum(0),
    "product": lambda x: (1 + x * 1e-3).prod(),
    "max": lambda x: x.max(),
    "any": lambda x: (x > 9).any(0),
    "argmax": lambda x: x.argmax(-1),
    "argmin of columns": lambda x: x.argmin(0),
    "max with indices": lambda x: x.max(0)[1],
    "softmax": lambda x: x.softmax(-1),
    "log_softmax": lambda x: x.log_softmax(-1),
    "mean squared error": lambda x: unspool.nn.functional.mse_loss(x, x.flip(0)),
    "squared errors": lambda x: unspool.nn.functional.mse_loss(x, x.flip(0), reduction="none"),
    "var": lambda x: x.var(),
    "matmul": lambda x: x.flatten(0, -2) @ x.flatten(0, -2).t(),
    "integers": lambda x: (x * 10).to(unspool.int64).flatten(0, -2) @ (x * 10).to(unspool.int64).flatten(0, -2).t(),
}


@pytest.mark.parametrize("shape", [(7, 33), (130, 65), (3, 5, 67), (1, 300_001)], ids=str)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_operations_have_the_same_bits_with_any_number_of_threads(operation: str, shape: tuple[int, ...]) -> None:
    f = OPERATIONS[operation]
    unspool.manual_seed(1)
    inputs = awkward(shape) + (awkward(shape, unspool.float64) if shape[-1] < 1000 else [])
    unspool.set_num_threads(1)
    expected = [f(x).numpy().tobytes() for x in inputs]
    _core._set_parallel_threshold(0)
    for threads in (2, 5):
        unspool.set_num_threads(threads)
        assert [f(x).numpy().tobytes() for x in inputs] == expected, threads


def test_nothing_is_shared_without_error() -> None:
    _core._set_parallel_threshold(0)
    unspool.set_num_threads(3)
    for x in (unspool.zeros(0, 5), unspool.zeros(5, 0), unspool.zeros(0)):
        for f in (lambda x: x + x, lambda x: x.relu(), lambda x: x.softmax(-1), lambda x: x.clone()):
            assert f(x).shape == x.shape
        assert x.sum() == 0
    assert (unspool.zeros(4, 0) @ unspool.zeros(0, 3)).sum() == 0
    assert (unspool.zeros(2, 0, 3) @ unspool.zeros(2, 3, 0)).shape == (2, 0, 0)


@pytest.mark.parametrize("shape", [(130, 65), (70_001,)], ids=str)
def test_gradients_have_the_same_bits_with_any_number_of_threads(shape: tuple[int, ...]) -> None:
    def gradients() -> list[bytes]:
        unspool.manual_seed(2)
        x = unspool.randn(shape, requires_grad=True)
        y = x.relu() * x.tanh() + x.softmax(-1)
        y = y - unspool.nn.functional.relu(x - 0.5).log_softmax(-1)
        (g,) = unspool.autograd.grad(y.square().sum(), x, create_graph=True)
        g.sum().backward()
        assert x.grad is not None
        return [t.detach().numpy().tobytes() for t in (y, g, x.grad)]

    unspool.set_num_threads(1)
    expected = gradients()
    _core._set_parallel_threshold(0)
    for threads in (2, 3, 8):
        unspool.set_num_threads(threads)
        assert gradients() == expected, threads


@pytest.mark.parametrize("transposed", [(False, False), (False, True), (True, False), (True, True)], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_products_of_all_paths_have_the_same_bits(transposed: tuple[bool, bool], dtype: str) -> None:
    unspool.manual_seed(3)
    kind = getattr(unspool, dtype)
    sizes = [(1, 700, 300), (9, 33, 40), (100, 30, 20), (300, 1, 77), (150, 130, 600), (740, 60, 1100)]
    pairs = []
    for m, n, k in sizes:
        a, b = unspool.randn(m, k).to(kind), unspool.randn(k, n).to(kind)
        pairs.append((a.t().contiguous().t() if transposed[0] else a, b.t().contiguous().t() if transposed[1] else b))
    batch = unspool.randn(7, 12, 30).to(kind)

    def products() -> list[bytes]:
        linear = [unspool.nn.functional.linear(a, b.t(), b[0]) for a, b in pairs]
        return [t.numpy().tobytes() for t in [*(a @ b for a, b in pairs), *linear, batch @ batch.transpose(1, 2)]]

    unspool.set_num_threads(1)
    expected = products()
    _core._set_parallel_threshold(0)
    for threads in (2, 3, 8):
        unspool.set_num_threads(threads)
        assert products() == expected, threads


def test_subnormal_momentum_is_flushed_by_workers_too() -> None:
    def momentum() -> bytes:
        p = unspool.nn.Parameter(unspool.ones(5000))
        p.grad = unspool.full((5000,), 1e-39)
        update = unspool.optim.SGD([p], lr=1.0, momentum=0.5)
        for _ in range(3):
            update.step()
        return bytes(update.state[p]["momentum_buffer"].numpy().tobytes())

    unspool.set_num_threads(1)
    expected = momentum()
    _core._set_parallel_threshold(0)
    unspool.set_num_threads(4)
    assert momentum() == expected


# ---- Small work stays on one thread -------------------------------------------------------------------------


def test_small_work_wakes_nobody_and_large_work_does() -> None:
    unspool.set_num_threads(2)
    _core._workers_that_ran(reset=True)
    trained([10, 40, 40, 5], 10, 20, "SGD")
    assert _core._workers_that_ran() == 0
    a = unspool.randn(1024, 1024)
    for _ in range(500):  # the worker comes when the system lets it
        a @ a
        if _core._workers_that_ran():
            break
    assert _core._workers_that_ran() == 1


# ---- Forks --------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_works_in_a_forked_child() -> None:
    _core._set_parallel_threshold(0)
    unspool.set_num_threads(3)
    expected = trained([10, 40, 40, 5], 10, 50, "SGD")
    child = os.fork()
    if child == 0:
        signal.alarm(60)  # a child that hangs fails
        _core._workers_that_ran(reset=True)
        same = trained([10, 40, 40, 5], 10, 50, "SGD") == expected
        os._exit(0 if same and _core._workers_that_ran() == 2 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert trained([10, 40, 40, 5], 10, 50, "SGD") == expected


# ---- Several Python threads ---------------------------------------------------------------------------------


def in_threads(*functions: Callable[[], Any]) -> list[Any]:
    """What each function returns, all run at once; their exceptions are raised here."""
    with ThreadPoolExecutor(len(functions)) as pool:
        futures = [pool.submit(f) for f in functions]
        return [future.result(timeout=300) for future in futures]


def trained_apart(seed: int) -> bytes:
    """A run whose random numbers are its own: several may run at once."""
    g = unspool.Generator().manual_seed(seed)
    w1 = unspool.randn(64, 20, generator=g).requires_grad_()
    w2 = unspool.randn(5, 64, generator=g).requires_grad_()
    x, y = unspool.randn(50, 20, generator=g), unspool.randn(50, 5, generator=g)
    update = unspool.optim.Adam([w1, w2], lr=1e-2)
    for _ in range(100):
        update.zero_grad()
        unspool.nn.functional.mse_loss((x @ w1.t()).relu() @ w2.t(), y).backward()
        update.step()
    return bytes(w1.detach().numpy().tobytes() + w2.detach().numpy().tobytes())


def test_several_python_threads_train_at_once() -> None:
    unspool.set_num_threads(1)
    expected = [trained_apart(seed) for seed in range(4)]
    _core._set_parallel_threshold(0)  # every kernel lets go of the GIL
    unspool.set_num_threads(3)
    assert in_threads(*(lambda seed=seed: trained_apart(seed) for seed in range(4))) == expected


def test_gradients_of_several_threads_add_up_in_one_leaf() -> None:
    _core._set_parallel_threshold(0)
    unspool.set_num_threads(2)
    w = unspool.ones(1000, requires_grad=True)

    def add() -> None:
        for _ in range(100):
            (w * 1.0).sum().backward()

    in_threads(*[add] * 4)
    assert w.grad is not None
    assert (w.grad == 400).all()


def test_random_draws_of_several_threads_do_not_deadlock() -> None:
    _core._set_parallel_threshold(0)
    unspool.set_num_threads(2)
    drawn = in_threads(*[lambda: [unspool.randn(500).sum() for _ in range(200)]] * 4)
    assert all(len(sums) == 200 for sums in drawn)


def test_other_threads_run_during_long_kernels() -> None:
    unspool.set_num_threads(1)
    a = unspool.randn(512, 512)
    stop = threading.Event()
    turns = 0

    def count() -> None:
        nonlocal turns
        while not stop.is_set():
            turns += 1
            time.sleep(0)

    other = threading.Thread(target=count)
    switch = sys.getswitchinterval()
    sys.setswitchinterval(1000.0)  # only who lets go of the GIL gives it to others
    try:
        other.start()
        before = turns
        for _ in range(200):
            a @ a
        assert turns > before
    finally:
        stop.set()
        sys.setswitchinterval(switch)
        other.join()


def test_a_daemon_thread_in_a_kernel_does_not_disturb_the_end() -> None:
    program = (
        "import threading, time, unspool\n"
        "a = unspool.randn(300, 300)\n"
        "def forever():\n"
        "    while True: a @ a\n"
        "for _ in range(3): threading.Thread(target=forever, daemon=True).start()\n"
        "time.sleep(0.2)\n"
        "print('end')"
    )
    for _ in range(5):
        done = of_a_fresh_process(program, UNSPOOL_NUM_THREADS="2")
        assert (done.returncode, done.stdout, done.stderr) == (0, "end\n", "")
