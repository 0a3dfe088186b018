"""How a report is shown: text, HTML, a picture, JSON, and the command line."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import unspool
from test_diagnose import mlp
from test_html import Table
from unspool import nn
from unspool.diagnose import Report

CASES: dict[str, Any] = {
    "healthy": lambda: (mlp(3, 32), unspool.randn(64, 32)),
    "sick": lambda: (mlp(60, 32, 16.0), unspool.randn(64, 32), unspool.randint(0, 10, (64,))),
    "underflow": lambda: (mlp(100, 16, 1 / 16), unspool.randn(64, 16)),
    "one layer": lambda: (nn.Linear(3, 2), unspool.randn(5, 3)),
    "NaN": lambda: (_spoilt(), unspool.randn(64, 32)),
    "dead": lambda: (mlp(3, 32, bias=-90.0), unspool.randn(64, 32)),
    "long names": lambda: (_nested(), unspool.randn(64, 1024)),
    "wide names": lambda: (_wide(), unspool.randn(64, 32)),
}


def _spoilt() -> Any:
    model = mlp(3, 32)
    nn.init.constant_(model[2].weight, math.nan)
    return model


def _nested() -> Any:
    inner = nn.Sequential()
    inner.add_module("a_projection_with_<a>_long_name", nn.Linear(1024, 1024))
    inner.add_module("activation", nn.LeakyReLU())
    inner.add_module("the_head", nn.Linear(1024, 1000))
    outer = nn.Sequential()
    outer.add_module("an_encoder", inner)
    return outer


def _wide() -> Any:
    """Symmetric layers, so that their names come in findings, too: of wide letters, of one that is wider than a line,
    and of letters with marks of their own."""
    model = nn.Sequential()
    for name in ("変数の層", "🙂🙃", "엔코더" * 20, "e\u0301a\u0308o\u0302", "head"):
        linear = nn.Linear(32, 32)
        nn.init.constant_(linear.weight, 0.1)
        model.add_module(name, linear)
        model.add_module(f"{name}_relu", nn.ReLU())
    return model


def columns(line: str) -> int:
    """Of a terminal."""
    wide = sum(0x1100 <= ord(c) < 0x1200 or 0x2E80 <= ord(c) < 0xE000 or 0x1F300 <= ord(c) < 0x1FB00 for c in line)
    return len(line) + wide - sum(0x300 <= ord(c) < 0x370 for c in line)


@pytest.fixture(params=list(CASES))
def report(request: pytest.FixtureRequest) -> Report:
    unspool.manual_seed(1)
    made: Report = unspool.diagnose(*CASES[request.param]())
    return made


def test_text_fits_80_columns(report: Report) -> None:
    lines = str(report).splitlines()
    assert max(map(columns, lines)) <= 80
    assert len(lines) < 110
    assert not any(line.strip() == "→" for line in lines)
    assert ("not healthy" in lines[0] or "not healthy" in lines[1]) == (not report.healthy)
    for f in report.findings:
        assert f"{f.severity}: {f.kind}" in str(report)


def test_columns_of_wide_names_stand_below_each_other() -> None:
    unspool.manual_seed(1)
    lines = str(unspool.diagnose(*CASES["wide names"]())).splitlines()
    table = lines[lines.index("") + 1 :]
    assert len(table) == 6
    assert {columns(line[: line.index("next")]) for line in table[:1]} == {
        columns(line[: line.index("relu", line.index("→"))]) for line in table[1:]
    }


def test_names_have_the_columns_that_numbers_leave() -> None:
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), 2)
    report = unspool.diagnose(encoder, unspool.randn(8, 5, 16))
    lines = str(report).splitlines()
    table = lines[lines.index("") + 1 :]
    assert [line.split()[0] for line in table[1:]] == [layer.path for layer in report.layers]
    assert len({line.index(word) for line, word in zip(table, ["next", *["none"] * 4, "relu"], strict=False)}) == 1


def test_what_is_not_judged_is_not_called_healthy() -> None:
    pytest.importorskip("matplotlib")
    unspool.manual_seed(1)
    report = unspool.diagnose(*CASES["dead"]())
    assert "forward:  no verdict" in str(report)
    assert "\n  … dead_units also at 4\n" in str(report)
    assert [a.get_title(loc="left") for a in report.plot().axes[:2]] == [
        "pre-activations: no verdict",
        "gradients: no verdict",
    ]


def test_one_is_told_in_the_singular() -> None:
    assert ": healthy; 1 linear layer, 8 parameters" in str(unspool.diagnose(*CASES["one layer"]()))
    told = " ".join(str(unspool.diagnose(*CASES["long names"]())).split())
    assert re.search(r"1 of 2 layers have weights of 0\.\d+ times the", told)


def test_colours_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rich", reason="rich is not installed (pip install '.[report]')")
    unspool.manual_seed(1)
    report = unspool.diagnose(*CASES["sick"]())
    plain = str(report)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert "\x1b[1;" in str(report)
    assert re.sub(r"\x1b\[[0-9;]*m", "", str(report)) == plain


def test_a_terminal_without_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    report = unspool.diagnose(mlp(2, 8), unspool.randn(8, 8))
    plain = str(report)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert str(report) == plain


def test_html_is_well_formed(report: Report) -> None:
    text = report._repr_html_()
    table = text[text.index("<table") : text.index("</table>") + 8]
    assert len(Table(table).rows) == len(report.layers) + 1
    assert "<a>" not in text
    for f in report.findings:
        assert f.kind in text


def test_json_is_json(report: Report) -> None:
    def refuse(name: str) -> Any:
        raise AssertionError(name)

    read = json.loads(report.to_json(indent=1), parse_constant=refuse)
    assert read == report.to_dict()
    assert read["healthy"] == report.healthy
    assert [f["kind"] for f in read["findings"]] == [f.kind for f in report.findings]
    assert len(read["layers"]) == len(report.layers)


def test_a_page_that_needs_nothing_else(report: Report, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "report.html"
    report.save(path)
    page = path.read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert page.count("<svg") == 1
    assert not re.search(r'(src|href)="(?!#|data:)|url\((?!#)|@import|<script', page)
    report.save(path)
    assert path.read_text(encoding="utf-8") == page


def test_the_picture_shows_the_variances() -> None:
    pytest.importorskip("matplotlib")
    unspool.manual_seed(1)
    report = unspool.diagnose(*CASES["sick"]())
    figure = report.plot()
    forward, backward, *_ = figure.axes
    drawn = forward.lines[0].get_ydata()
    assert list(drawn) == pytest.approx([x.z.ln_var / math.log(10) for x in report.facts.exact.layers])
    assert drawn[-1] - drawn[0] > 40
    assert backward.lines[0].get_ydata()[0] > 20
    assert "exploding" in forward.get_title(loc="left")
    figure.canvas.draw()


@pytest.mark.parametrize("path", ["report.png", "report"])
def test_save_writes_html_only(path: str, tmp_path: Path) -> None:
    report = unspool.diagnose(mlp(1, 8), unspool.randn(8, 8))
    with pytest.raises(ValueError, match=r"path must end in \.html"):
        report.save(tmp_path / path)
    assert list(tmp_path.iterdir()) == []


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    report = unspool.diagnose(mlp(1, 8), unspool.randn(8, 8))
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"unspool\[report\]"):
        report.plot()


# the command line

MODELS = """
import unspool
from unspool import nn

def right(scale=1.0):
    parts = []
    for _ in range(20):
        linear = nn.Linear(32, 32)
        nn.init.normal_(linear.weight, 0, (2 * scale / 32) ** 0.5)
        nn.init.zeros_(linear.bias)
        parts += [linear, nn.ReLU()]
    return nn.Sequential(*parts, nn.Linear(32, 10))

def sick():
    return right(16.0), unspool.randn(64, 32), unspool.randint(0, 10, (64,))

def sick_and_foreign():
    model, x, y = sick()
    model.add_module("層", nn.Linear(10, 10))
    return model, x, y

def unscaled():
    return right(), 300 * unspool.randn(64, 32)

def nothing():
    return nn.ReLU()

def a_list():
    return [right(), unspool.randn(64, 32)]

def too_many():
    return right(), unspool.randn(64, 32), None, None, None
"""


def command(where: Path, *args: str, **variables: str) -> subprocess.CompletedProcess[str]:
    (where / "models.py").write_text(MODELS, encoding="utf-8")
    line = [sys.executable, "-W", "error", "-m", "unspool", "diagnose", *args]
    environment = {**os.environ, **variables}
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=120, cwd=where, env=environment)


@pytest.mark.parametrize(
    ("name", "status", "said"),
    [
        ("models:right", 0, "Sequential: healthy"),
        ("models:unscaled", 3, "warning: unscaled_inputs"),
        ("models:sick", 4, "error: exploding_forward"),
        ("models:nothing", 2, "the model (ReLU) has no parameters"),
        (
            "models:a_list",
            2,
            "models:a_list must return a model, (model, x), (model, x, y) or (model, x, y, loss), got list",
        ),
        ("models:too_many", 2, "got a tuple of 5"),
        ("models:__name__", 2, "models:__name__ is not a function but of type str"),
        ("models:none", 2, "has no attribute 'none'"),
        ("nowhere:none", 2, "No module named 'nowhere'"),
        ("models", 2, "expected module:function, got 'models'"),
    ],
)
def test_the_exit_status_says_how_bad_it_is(name: str, status: int, said: str, tmp_path: Path) -> None:
    done = command(tmp_path, name)
    assert done.returncode == status
    assert said in (done.stderr if status == 2 else done.stdout)
    assert "Traceback" not in done.stderr


def test_the_command_prints_json(tmp_path: Path) -> None:
    done = command(tmp_path, "models:sick", "--json", "--shadow", "--curvature", "--seed", "3")
    read = json.loads(done.stdout)
    assert (done.returncode, read["severity"], read["forward"]["label"]) == (4, "error", "exploding")
    assert read["float64"]


@pytest.mark.parametrize(("option", "shown"), [([], r"Var x 1\d\.\d a layer"), (["--json"], r"\\u5c64")])
def test_a_log_in_ascii_gets_the_report(option: list[str], shown: str, tmp_path: Path) -> None:
    """It has signs and a layer's name that ASCII hasn't."""
    done = command(tmp_path, "models:sick_and_foreign", *option, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (4, "")
    assert re.search(shown, done.stdout)
    assert done.stdout.isascii()


@pytest.mark.parametrize(("path", "said"), [("page.png", "must end in .html"), ("no/page.html", "No such file")])
def test_a_page_that_the_command_cannot_write(path: str, said: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    done = command(tmp_path, "models:right", "--save", path)
    assert (done.returncode, done.stdout[:19]) == (2, "Sequential: healthy")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_importing_unspool_does_not_import_this() -> None:
    code = "import sys, unspool; print('unspool.diagnose' in sys.modules, callable(unspool.diagnose))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_the_blocks_of_its_page_run(root: Path, tmp_path: Path) -> None:
    text = (root / "docs" / "diagnose.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        line = [sys.executable, "-W", "error", "-c", block]
        done = subprocess.run(line, capture_output=True, text=True, check=False, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        for expected in re.findall(r"# prints: (.+)$", block, re.MULTILINE):
            assert expected in done.stdout.splitlines(), done.stdout


def test_its_page_names_every_kind(root: Path) -> None:
    package = root / "python" / "unspool" / "diagnose"
    source = (package / "findings.py").read_text(encoding="utf-8")
    kinds = set(re.findall(r'Finding\(\s*"(\w+)"', source))
    assert len(kinds) >= 11
    page = (root / "docs" / "diagnose.md").read_text(encoding="utf-8")
    assert {kind for kind in kinds if f"`{kind}`" not in page} == set()
