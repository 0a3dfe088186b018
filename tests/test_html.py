"""The table that a notebook shows for a module: well formed, escaped, and its numbers right."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import unspool
from unspool import nn

VOID = {"br"}


class Table(HTMLParser):
    """Rows of cells as text; AssertionError for tags that don't nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")
        if tag in VOID:
            self.rows[-1][-1] += "\n"
        else:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(10, 40), nn.ReLU(), nn.BatchNorm1d(40))
        self.head = nn.Linear(40, 1000)
        self.gain = nn.Parameter(unspool.tensor(1.0))

    def extra_repr(self) -> str:
        return "<b>a & b</b>\nsecond"


def test_a_row_a_layer_and_the_totals() -> None:
    m = Scaled()
    m.head.bias.requires_grad_(False)
    rows = Table(m._repr_html_()).rows
    assert rows[0] == ["layer", "type", "settings", "parameters", "number"]
    assert rows[1] == ["", "Scaled", "<b>a & b</b>\nsecond", "gain: number", "1"]
    assert [row[0].strip("\xa0") for row in rows[2:-1]] == ["body", "0", "1", "2", "head"]
    assert rows[3] == [
        "\xa0" * 4 + "0",
        "Linear",
        "in_features=10, out_features=40, bias=True",
        "weight: 40 × 10\nbias: 40",
        "440",
    ]
    assert rows[5][3].split("\n")[2:] == [
        "running_mean: 40 (buffer)",
        "running_var: 40 (buffer)",
        "num_batches_tracked: number (buffer)",
    ]
    assert rows[6][3:] == ["weight: 1000 × 40\nbias: 1000 (frozen)", "41,000"]
    count = sum(p.numel() for p in m.parameters())
    assert rows[-1] == [f"{count:,} parameters: {count - 1000:,} trainable, 1,000 frozen"]


def test_shared_parameters_count_once() -> None:
    tied = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    tied[1].weight = tied[0].weight
    rows = Table(tied._repr_html_()).rows
    assert rows[2][3:] == ["weight: 3 × 3", "9"]
    assert rows[3][3:] == ["weight: 3 × 3 (shared)", ""]
    assert rows[-1] == ["9 parameters: 9 trainable"]
    twice = nn.ReLU()
    assert len(Table(nn.Sequential(twice, twice)._repr_html_()).rows) == 5


def test_names_are_escaped() -> None:
    m = nn.Module()
    m.add_module("<script>", nn.Identity())
    m.register_parameter('"&', nn.Parameter(unspool.ones(2)))
    text = m._repr_html_()
    assert not re.search(r"<script", text)
    rows = Table(text).rows
    assert rows[1][3] == '"&: 2'
    assert rows[2][0] == "<script>"


def test_a_tensor_has_none_as_in_pytorch() -> None:
    assert not hasattr(unspool.ones(2), "_repr_html_")
