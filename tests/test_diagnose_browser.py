"""`report.save`'s page as Chromium shows it: all of it is there, fits, asks for nothing and runs nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest

import unspool
from browser import Browser, find_browser
from test_diagnose import mlp
from unspool import nn
from unspool.diagnose import Report

pytest.importorskip("matplotlib", reason="matplotlib is not installed (pip install '.[report]')")


def _odd_names() -> Any:
    inner = nn.Sequential()
    for name in ("<b>&\"'</b>", "变量_é_ω_🙂", "x" * 200):
        linear = nn.Linear(32, 32)
        nn.init.constant_(linear.weight, 0.1)
        nn.init.zeros_(linear.bias)
        inner.add_module(name, linear)
        inner.add_module(f"{name}'s", nn.ReLU())
    outer = type("Net<i>&amp;", (nn.Sequential,), {})()
    outer.add_module("<script>throw 1</script><img src=x onerror='throw 1'>", inner)
    return outer


def _not_a_number() -> Any:
    model = mlp(3, 32)
    nn.init.constant_(model[2].weight, math.nan)
    return model


CASES: dict[str, Any] = {
    "healthy": lambda: (mlp(3, 32), unspool.randn(64, 32)),
    "vanishing": lambda: (mlp(40, 16, 1 / 16), unspool.randn(64, 16), unspool.randint(0, 10, (64,))),
    "symmetric, odd names": lambda: (_odd_names(), unspool.randn(64, 32)),
    "NaN": lambda: (_not_a_number(), unspool.randn(64, 32)),
    "inf": lambda: (mlp(40, 16, 100.0), unspool.randn(64, 16), unspool.randint(0, 10, (64,))),
}

# For each element: its text, and whether it is visible and has a box of some size.
SHOWN = """[...document.querySelectorAll(%r)].map(e => {
  const box = e.getBoundingClientRect(), style = getComputedStyle(e);
  return [e.innerText ?? e.textContent,
          box.width > 0 && box.height > 0 && style.visibility === "visible" && style.opacity > 0];
})"""

# Elements that reach over the window's edge and can't be scrolled into it within the page.
CUT = """[...document.querySelectorAll("body *")].filter(e => {
  if (!e.checkVisibility() || e.closest("svg") !== null && e.localName !== "svg") return false;
  let frame = e.parentElement;
  while (frame !== document.body && getComputedStyle(frame).overflowX !== "auto") frame = frame.parentElement;
  const box = e.getBoundingClientRect(), edge = frame.getBoundingClientRect();
  const width = frame === document.body ? edge.width : frame.scrollWidth;
  return box.left < edge.left - 1 || box.right > edge.left + width + 1;
}).map(e => e.outerHTML.slice(0, 80))"""

# Texts of the picture that leave it.
OUTSIDE = """(() => {
  const edge = document.querySelector("svg").getBoundingClientRect();
  return [...document.querySelectorAll("svg text")].filter(e => {
    const box = e.getBoundingClientRect();
    return box.left < edge.left || box.right > edge.right || box.top < edge.top || box.bottom > edge.bottom;
  }).map(e => e.textContent);
})()"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = find_browser()
    if program is None:
        pytest.skip("Chromium is not installed (Debian's package chromium)")
    with Browser(program, tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture(scope="module", params=list(CASES))
def report(request: pytest.FixtureRequest) -> Report:
    unspool.manual_seed(1)
    made: Report = unspool.diagnose(*CASES[request.param]())
    return made


@pytest.fixture(scope="module")
def url(report: Report, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "report.html"
    report.save(path)
    return path.as_uri()


@pytest.fixture
def opened(browser: Browser, url: str) -> Browser:
    browser.resize(1280)
    browser.open(url)
    return browser


def shown(browser: Browser, selector: str) -> list[str]:
    """The texts of the elements, all of which must be seen."""
    found = browser.evaluate(SHOWN % selector)
    assert [text for text, seen in found if not seen] == []
    return [text for text, _ in found]


def test_it_asks_for_nothing_and_logs_nothing(opened: Browser, url: str) -> None:
    methods = [event["method"] for event in opened.events]
    asked = [e["params"]["request"]["url"] for e in opened.events if e["method"] == "Network.requestWillBeSent"]
    assert [address for address in asked if not address.startswith("data:")] == [url]
    assert {"Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"}.isdisjoint(methods)
    assert opened.evaluate("document.querySelectorAll('script, img, link, iframe, object').length") == 0
    assert opened.evaluate("document.compatMode") == "CSS1Compat"


def test_all_of_the_report_is_seen(opened: Browser, report: Report) -> None:
    title = f"diagnosis of {report.model}"
    assert opened.evaluate("document.title") == title
    assert shown(opened, "h1") == [title]
    (verdict,) = shown(opened, "p")
    assert verdict.startswith(f"{report.model}: {'healthy' if report.healthy else 'not healthy'}")
    for way in (report.forward, report.backward):
        assert ("no verdict" if way.layers < 2 else way.label) in verdict
    items = shown(opened, "li")
    assert len(items) == len(report.findings)
    for item, f in zip(items, report.findings, strict=True):
        assert item.startswith(f"{f.severity}: {f.kind}")
        assert all(text in item for text in (f.layer, f.message, f.remedy))
    rows = shown(opened, "tbody tr")
    assert [row.split("\t")[0] for row in rows] == [layer.path for layer in report.layers]
    assert {len(row.split("\t")) for row in rows} == {len(shown(opened, "th"))}


def test_the_pictures_are_seen(opened: Browser, report: Report) -> None:
    assert len(shown(opened, "svg")) == 1
    assert len(shown(opened, "svg image")) == 2
    texts = shown(opened, "svg text")
    for title in ("pre-activations", "gradients", "idle units"):
        assert any(text.startswith(title) for text in texts)
    assert opened.evaluate(OUTSIDE) == []
    layers = report.facts.exact.layers
    points = [s for x in layers for s in (x.z, x.gradient) if s is not None and math.isfinite(s.ln_var)]
    assert (
        sum(seen for _, seen in opened.evaluate(SHOWN % "svg use")) >= len(points) > 0
    )  # a tick is a line, of width 0


def test_it_is_as_wide_as_the_window(opened: Browser) -> None:
    for width, mobile in ((1280, False), (400, False), (400, True)):
        opened.resize(width, mobile=mobile)
        assert opened.evaluate("innerWidth") == width
        assert opened.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
        assert opened.evaluate(CUT) == []
        scrolled = opened.evaluate("[...document.querySelectorAll('div')].map(e => e.scrollWidth > e.clientWidth)")
        assert len(scrolled) == 2
        assert any(scrolled) == (width == 400)


def test_it_prints_the_same_without_javascript(browser: Browser, url: str) -> None:
    printed = []
    for disabled in (False, True):
        browser.call("Emulation.setScriptExecutionDisabled", value=disabled)
        browser.call("Emulation.setEmulatedMedia", media="print")
        browser.resize(720)
        browser.open(url)
        size = browser.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": 720, "height": size["height"], "scale": 1}
        printed.append(
            browser.call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True, optimizeForSpeed=True)["data"]
        )
    browser.call("Emulation.setScriptExecutionDisabled", value=False)
    browser.call("Emulation.setEmulatedMedia", media="")
    assert len(printed[0]) > 20_000
    same = printed[0] == printed[1]  # a failure need not show the pictures' bytes
    assert same
