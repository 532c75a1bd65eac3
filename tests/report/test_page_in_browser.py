"""The report in a real browser: it shows, loads nothing, and fits a screen."""

from __future__ import annotations

import os
import shutil

import pytest
from playwright.sync_api import sync_playwright
from support.runs import quick_run

import asi_verify as asi
from asi_verify.data import phantom
from asi_verify.prove import Intervals
from asi_verify.report import write_report
from asi_verify.stress import Battery

FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]


@pytest.fixture(scope="module")
def chromium():
    """The system's browser; skipped with a reason where there is none, never in CI."""
    path = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    if path is None:
        if os.environ.get("CI") == "true":
            pytest.fail("no Chromium, and in CI no test may be skipped")
        # Who has no browser can still run all the rest.
        pytest.skip("Chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    """The report of a small corrected run with contradictions, and all that can be added to it."""
    data, _ = phantom(0, samples=(60, 20, 20), duplicates=1, dual_labels=1)
    out = tmp_path_factory.mktemp("report") / "out"
    result = quick_run(data, out=out)
    asi.validate(result, data, battery=Battery(attacks=()))
    asi.build_guard(result, data)
    asi.bubbles(result, data, "2/255", stages=[Intervals()])
    report = write_report(result.folder, data)
    assert all(report[name] for name in ("stress", "guard", "bubbles"))
    return out / "report.html"


@pytest.mark.parametrize("width", [1280, 768, 390])
def test_the_page_shows_and_fits(chromium, page_file, width, tmp_path):
    """No error, no request, no broken picture, nothing beyond the right edge."""
    page = chromium.new_page(viewport={"width": width, "height": 900})
    troubles: list[str] = []
    page.on("console", lambda message: troubles.append(message.text))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("request", lambda request: troubles.append(request.url))
    page.goto(page_file.as_uri())
    loaded = [url for url in troubles if not url.startswith(("data:", page_file.as_uri()))]
    assert not loaded
    assert "Zero repeatable errors except" in page.inner_text("h1")
    pictures = page.eval_on_selector_all("img", "all => all.map(i => i.naturalWidth)")
    assert pictures
    assert all(pictures)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.screenshot(path=tmp_path / "page.png", full_page=True)
    page.close()
