"""unspool.profile and the pictures of frozen functions: what they show is what ran."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path
from typing import Any

import pytest

import unspool
from unspool import nn, optim


def _training() -> Any:
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    opt = optim.SGD(net.parameters(), lr=0.1, momentum=0.9)

    def step(x: Any, y: Any) -> Any:
        loss = nn.functional.mse_loss(net(x), y)
        loss.backward()
        opt.step()
        opt.zero_grad()
        return loss

    return step


def test_eager_operations_are_counted() -> None:
    x, y = unspool.randn(4, 6), unspool.randn(4, 3)
    step = _training()
    step(x, y)
    with unspool.profile() as p:
        for _ in range(3):
            step(x, y)
    counts = {row.key: row.count for row in p.key_averages()}
    assert counts == {
        "linear_relu": 3,
        "linear": 3,
        "mse_loss_same_shape": 3,
        "mse_loss_backward": 3,
        "linear_backward": 6,
        "sgd_update": 12,
    }
    assert {e.shape for e in p.events() if e.name == "linear_relu"} == {(4, 8)}
    assert not any(e.frozen for e in p.events())


def test_a_plans_operations_lie_in_its_replay() -> None:
    x, y = unspool.randn(4, 6), unspool.randn(4, 3)
    step = unspool.compile(_training())
    _ = [step(x, y) for _ in range(3)]
    with unspool.profile() as p:
        _ = [step(x, y) for _ in range(2)]
    names = [e.name for e in p.events()]
    one = ["replay", "linear_relu", "linear", "mse_loss_with_gradient", *["linear_backward+sgd_update"] * 2]
    assert names == [*one, *["sgd_update"] * 2] * 2
    replays = [e for e in p.events() if e.name == "replay"]
    for e in p.events():
        inside = [r for r in replays if r.start_us <= e.start_us and e.start_us + e.total_us <= r.start_us + r.total_us]
        assert (e.name == "replay") != e.frozen
        assert len(inside) == 1
    # A replay's own time is what its operations leave of it.
    whole, own = (sum(getattr(r, f) for r in replays) for f in ("total_us", "self_us"))
    assert own == pytest.approx(whole - sum(e.total_us for e in p.events() if e.frozen))
    assert sum(e.self_us for e in p.events()) == pytest.approx(whole)


def test_the_table_fits_a_terminal_and_sorts() -> None:
    a = unspool.randn(40, 40)
    with unspool.profile() as p:
        for _ in range(5):
            (a @ a).exp()
    text = p.key_averages().table(sort_by="count", row_limit=1)
    lines = text.splitlines()
    assert len(lines) == 4
    assert re.match(r"Name +Self CPU % +Self CPU +CPU total +CPU mean +Calls$", lines[0])
    assert re.match(r"(exp|matmul_batched) .* 5$", lines[2])
    assert all(len(line) <= 80 for line in p.table().splitlines())
    assert str(p) == p.table()
    assert p.table(sort_by="key").splitlines()[2].startswith("exp ")
    with pytest.raises(ValueError, match=r"sort_by must be one of .*, got 'colour'"):
        p.table(sort_by="colour")


def test_the_trace_is_json_of_complete_events(tmp_path: Path) -> None:
    with unspool.profile() as p:
        unspool.ones(3).exp().sum()
    p.export_chrome_trace(tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert [e["name"] for e in events] == ["exp", "sum"]
    for e in events:
        assert e["ph"] == "X"
        assert e["dur"] >= 0
        assert e["ts"] >= 0
    assert [e["args"]["shape"] for e in events] == [[3], []]
    with pytest.raises(FileNotFoundError):
        p.export_chrome_trace(tmp_path / "nowhere" / "trace.json")


def test_threads_have_numbers_of_their_own() -> None:
    with unspool.profile() as p:
        unspool.ones(3).exp()
        thread = threading.Thread(target=lambda: unspool.ones(4).exp())
        thread.start()
        thread.join()
    assert len({e.thread for e in p.events()}) == 2
    assert sorted(e.shape for e in p.events()) == [(3,), (4,)]


def test_one_profile_at_a_time_and_only_after_its_block() -> None:
    p = unspool.profile()
    with pytest.raises(RuntimeError, match="its block has not begun"):
        p.events()
    assert repr(p) == "<unspool.profile: not begun>"
    with p:
        with pytest.raises(RuntimeError, match="its block has not ended"):
            p.key_averages()
        with pytest.raises(RuntimeError, match="a profile is running already"), unspool.profile():
            pass
    assert p.events() == []
    assert p.table().splitlines()[-1] == "Self CPU time total: 0.000us"
    q = unspool.profile()
    with pytest.raises(ZeroDivisionError), q:
        unspool.ones(1).exp().item() / 0.0
    assert [e.name for e in q.events()] == ["exp"]
    with unspool.profile():  # and the next one runs
        pass


# ---- Pictures --------------------------------------------------------------------------------------------------------


def test_a_picture_shows_the_steps_before_and_after(tmp_path: Path) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    step = unspool.compile(_training())
    for _ in range(3):
        step(unspool.randn(4, 6), unspool.randn(4, 3))
    with matplotlib.rc_context({"svg.fonttype": "none"}):  # text as text
        step.draw(tmp_path / "step.svg")
    text = (tmp_path / "step.svg").read_text()
    for part in ("recorded: 10 steps", "after fusion: 7 steps", "linear_backward+sgd_update", "mse_loss_same_shape"):
        assert part in text
    step.draw(tmp_path / "step.png")
    assert (tmp_path / "step.png").read_bytes().startswith(b"\x89PNG")
    model = unspool.compile(nn.Linear(2, 2))
    for _ in range(3):
        model(unspool.ones(2))
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        model.draw(str(tmp_path / "model.svg"))
    assert "backward:" in (tmp_path / "model.svg").read_text()


def test_what_cannot_be_drawn(tmp_path: Path) -> None:
    step = unspool.compile(_training())
    with pytest.raises(unspool.errors.PlanError, match="has no plan yet"):
        step.draw(tmp_path / "x.svg")
    for _ in range(3):
        step(unspool.randn(4, 6), unspool.randn(4, 3))
    with pytest.raises(ValueError, match=r"must end in .svg or .png, got '.*x.pdf'"):
        step.draw(tmp_path / "x.pdf")

    def long(x: Any) -> Any:
        for _ in range(500):
            x = x + 1
        return x

    frozen = unspool.compile(long)
    for _ in range(3):
        frozen(unspool.ones(2))
    with pytest.raises(ValueError, match="500 steps are too many to be read; at most 400"):
        frozen.draw(tmp_path / "x.svg")
