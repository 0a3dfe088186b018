"""Benchmarks run, their peers do the same work, and README shows what is stored. No time is asserted here."""

from __future__ import annotations

import importlib.util
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gemm
import harness
import report
import run
import summary

FOLDER = Path(run.__file__).parent
SMALL = {  # a case of each that takes moments
    "step": ["--cases", "10-40-40-5, 10, SGD"],
    "frozen": ["--cases", "10-40-40-5", "width 8", "freeze 100 chain"],
    "trainer": ["--cases", "10-40-40-5, 10"],
    "float64": ["--cases", "10-40-40-5"],
    "sweeps": ["--cases", "width 8"],
    "matmul": ["--cases", "8³", "10×40·40×40 TN"],
    "gemm": ["--cases", "10×40·40×40 NT"],
    "op_overhead": ["--cases", "a + a", "a.sum().backward()"],
    "optimizers": ["--cases", "100 × 4096, Adam"],
    "data_loader": ["--cases", "100 × 15"],
    "notes": [],
    "threads": ["--cases", "10-40-40-5"],
    "footprint": ["--peers", "numpy", "unspool"],
}


@pytest.mark.parametrize("name", run.SCRIPTS)
def test_it_runs(name: str, tmp_path: Path) -> None:
    """One tiny round; what it prints fits 80 columns, and what it stores prints the same once more."""
    stored = tmp_path / "result.json"
    options = ["--rounds", "1", "--seconds", "0.001", "--json", str(stored), *SMALL[name]]
    done = subprocess.run(
        [sys.executable, str(FOLDER / f"{name}.py"), *options], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    if "skipped: " in done.stdout:
        pytest.skip(done.stdout.strip())
    assert [line for line in done.stdout.splitlines() if len(line) > report.WIDTH] == []
    result = json.loads(stored.read_text(encoding="utf-8"))
    assert result["benchmark"] == name
    assert "unspool" in result["peers"]
    assert result["cases"]
    if name != "footprint":
        again = subprocess.run(
            [sys.executable, str(FOLDER / "report.py"), str(stored)], capture_output=True, text=True, check=True
        )
        table = again.stdout.rstrip().splitlines()
        assert table == [line for line in done.stdout.rstrip().splitlines() if ": left out" not in line]
    absent = [line for line in done.stdout.splitlines() if ": left out" in line]
    if absent:
        pytest.skip("ran without a peer: " + "; ".join(absent))


class Answers:
    """A peer whose rounds last as long as it is told."""

    def __init__(self, name: str, seconds: list[float]) -> None:
        self.name, self.seconds, self.about = name, iter(seconds), {}

    def ask(self, **question: Any) -> Any:
        if "case" in question:
            return {"about": {}, "iterations": 1, "flops": 1e6 if self.name == "fma" else None}
        return next(self.seconds)


def measured(case: harness.Case, times: dict[str, list[float]]) -> dict[str, Any]:
    """A result of one case, as harness.main makes it."""
    peers: list[Any] = [Answers(name, seconds) for name, seconds in times.items()]
    result = harness.measure(case, peers, "CPU time", 0.0, len(next(iter(times.values()))))
    return {"benchmark": "", "rates": False, "clock": "CPU time", "peers": {}, "cases": [result]}


@pytest.mark.parametrize("rates", [False, True])
@pytest.mark.parametrize("rounds", [1, 2, 15])
def test_what_is_printed_is_what_is_stored(
    rates: bool, rounds: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every figure is rounded where it arises. 27.749996 µs are 27.7 µs, but 27.8 µs when rounded to 27.750 before."""
    edge = 27.749996e-6
    assert report.duration(edge) != report.duration(harness.rounded(edge))
    draw = random.Random(0)
    for seconds in (edge, *(draw.uniform(1e-6, 1e-3) for _ in range(100))):
        times = {name: [seconds * draw.uniform(1, 1.0001) for _ in range(rounds)] for name in ("unspool", "torch")}
        times["unspool"][0] = seconds
        times["fma"] = [draw.uniform(1e-5, 2e-5) for _ in range(rounds)]
        limits = (harness.against("torch", draw.uniform(0.9, 1.1)), harness.peak_share())
        case = harness.Case("a case", ("fma", "unspool", "torch"), ratios=limits, flops=draw.uniform(1e5, 1e6))
        result = measured(case, times) | {"rates": rates}
        harness.write_json(tmp_path / "result.json", result)
        stored = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
        assert stored == result
        for peer in stored["cases"][0]["peers"].values():
            assert peer["seconds"] == harness.spread(peer["rounds"])
        report.print_cases(result)
        printed = capsys.readouterr().out
        report.print_cases(stored)
        assert capsys.readouterr().out == printed


def test_readme_gets_the_products_called_from_c() -> None:
    """Each that is chosen is one that gemm.py measures; a limit that OpenBLAS alone puts out of reach says so."""
    flops = {case.name: case.flops or 0 for case in gemm.cases()}
    fma = [1e-5] * 3  # a million in 10 µs: 100 GFLOP/s
    cases = []
    for case in gemm.cases():
        seconds = flops[case.name] / 1e11
        times = {"fma": fma, "unspool": [seconds / 0.95] * 3, "openblas": [seconds / 0.8] * 3}
        cases += measured(case, times)["cases"]
    lines = summary.products({"cases": cases})
    assert len(lines) == 2 + 17 + 1
    assert "| 512³ | 95 | 80 | 0.95 (0.95 to 0.95) | ≥ 0.9, met | 1.19 (1.19 to 1.19) | ≥ 1, met |" in lines
    assert "| 16³ | 95 | 80 | 0.95 (0.95 to 0.95) |  | 1.19 (1.19 to 1.19) | ≥ 1.5, missed; 1.25 at the peak |" in lines
    assert summary.products({"cases": []}) == []


def losses(peer: str, optimizer: str, dtype: str) -> list[float]:
    """Of 5 steps, in a process of its own: JAX warns of every later fork of the process that imports it."""
    code = f"""
import networks
networks.LR = 0.05
step = networks.setup({peer!r}, widths=(7, 9, 8, 3), batch=6, optimizer={optimizer!r}, dtype={dtype!r})
print(*(float(step()) for _ in range(5)))
"""
    command, env = [sys.executable, "-c", code], harness.peer_environment()
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=FOLDER, env=env)
    assert done.returncode == 0, done.stderr
    return [float(word) for word in done.stdout.split()]


@pytest.mark.parametrize("peer", ["numpy", "torch", "jax"])
@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_peers_train_alike(peer: str, optimizer: str, dtype: str) -> None:
    """Their losses are equal over 5 steps, so what is compared is the same work."""
    if importlib.util.find_spec(peer) is None:
        pytest.skip(f"{peer} is not installed (pip install '.[bench]')")
    if (peer, optimizer) == ("numpy", "Adam"):
        pytest.skip("NumPy's step is written for SGD only")
    mine = losses("unspool", optimizer, dtype)
    np.testing.assert_allclose(losses(peer, optimizer, dtype), mine, rtol=2e-5 if dtype == "float32" else 1e-12)
    assert mine[4] < mine[0]


def test_a_ratio_is_taken_round_by_round() -> None:
    """Its median is not the ratio of the medians; `best` puts the FMA peak in unspool's place."""
    times = {"unspool": [2.0, 9.0, 6.0], "torch": [4.0, 10.0, 30.0], harness.PEAK: [1.0, 1.0, 3.0]}
    case = harness.Case("", (), ratios=(harness.against("torch", 0.5), harness.peak_share(0.6), harness.against("jax")))
    torch, share = harness.ratios(case, times)
    assert (torch["value"]["median"], torch["met"], torch["best"]) == (0.5, True, 0.1)
    assert (share["value"]["median"], share["met"], share["best"]) == (0.5, False, 1.0)


def test_readme_shows_what_is_stored() -> None:
    _, inside, _ = summary.parts(summary.README.read_text(encoding="utf-8"))
    assert inside == summary.section(summary.load())


def test_the_plot_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (pip install '.[bench]')")
    summary.draw(summary.load(), tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
