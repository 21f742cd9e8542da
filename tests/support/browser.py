"""A browser for tests of pages, and what a page asked for or complained of."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

__all__ = ["Visit", "browser", "chromium", "opened"]

_LOCAL = ("data", "blob", "about")


def chromium() -> str:
    """Where Debian's chromium is; without it a test is skipped, but fails in continuous integration."""
    program = shutil.which("chromium")
    if program is None:
        if os.environ.get("CI") == "true":
            pytest.fail("expected chromium, found none; run: apt-get install chromium")
        pytest.skip("chromium is not installed")
    return program


@pytest.fixture(scope="module")  # while it is there, no test in the same process can start an event loop
def browser() -> Iterator[Any]:
    """Debian's chromium; without it tests are skipped, but not in continuous integration."""
    program = chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield launched
        launched.close()


class Visit:
    """A page that is open, with what it did on the side.

    Attributes
    ----------
    page : playwright's Page
    complaints : list of str
        What it wrote to the console as errors or warnings, and errors that nothing caught.
    foreign : list of str
        Addresses that it asked on other hosts than its own.
    """

    def __init__(self, page: Any, host: str) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.foreign: list[str] = []
        page.on("console", lambda said: said.type in ("error", "warning") and self.complaints.append(said.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self._asked(request.url, host))

    def _asked(self, address: str, host: str) -> None:
        parts = urlsplit(address)
        is_own = parts.netloc == host and (host or parts.scheme == "file")
        if parts.scheme not in _LOCAL and not is_own:
            self.foreign.append(address)


@contextmanager
def opened(
    browser: Any, address: str | Path, *, width: int = 1280, height: int = 900, **options: Any
) -> Iterator[Visit]:
    """Open a page in a window of its own; in the end it must have complained of nothing and asked no other host.

    Parameters
    ----------
    browser : playwright's Browser
    address : str or Path
        A file, or an address of a server.
    width, height : int
        Of the window.
    **options
        For the window, e.g. ``color_scheme="dark"``.
    """
    url = address.absolute().as_uri() if isinstance(address, Path) else address
    settings = {"reduced_motion": "reduce", **options}
    context = browser.new_context(viewport={"width": width, "height": height}, **settings)
    try:
        page = context.new_page()
        visit = Visit(page, urlsplit(url).netloc)
        page.goto(url)
        yield visit
        assert visit.complaints == []
        assert visit.foreign == []
    finally:
        context.close()
