"""The browser that tests look at pages with."""

from contextlib import contextmanager

import pytest


@contextmanager
def chromium():
    """Chromium without a window; where there is none, the test is skipped."""
    browsers = pytest.importorskip("playwright.sync_api")
    with browsers.sync_playwright() as engines:
        try:
            opened = engines.chromium.launch(
                executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"])  # fmt: skip
        except browsers.Error as error:
            pytest.skip(f"no Chromium: {error}")
        yield opened
        opened.close()
