"""The pages lead to each other, and are built as a site by both of the tools that read mkdocs.yml."""

import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest
import yaml

LINK = re.compile(r"\]\(([^)\s]+)\)")
BUILDERS = {"mkdocs": ["mkdocs", "build", "-q", "--strict", "-d"], "zensical": ["zensical", "build"]}


def nav_of(items):
    """The pages that a nav names, in order."""
    for item in items:
        for value in item.values():
            yield from [value] if isinstance(value, str) else nav_of(value)


def anchors_of(text):
    """What headings are linked by: lower case, without marks, blanks as hyphens."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def broken_links(page, docs):
    """The links of a page that lead out of the site, to no file, or to no heading."""
    text = page.read_text(encoding="utf-8")
    for link in LINK.findall(re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        path, anchor = urldefrag(link)
        if "://" in path:
            continue
        target = (page.parent / path).resolve() if path else page
        is_there = target.is_file() and docs in target.parents
        if not is_there or (anchor and unquote(anchor) not in anchors_of(target.read_text(encoding="utf-8"))):
            yield f"{page.relative_to(docs)}: {link}"


def test_pages_link_to_pages_and_headings_of_the_site(root):
    """A page that linked out of docs/ would lead nowhere on the site."""
    pages = [*(root / "docs").rglob("*.md")]
    assert len(pages) > 50
    assert [each for page in pages for each in broken_links(page, root / "docs")] == []


def test_nav_has_every_page_once(root):
    """A page outside the nav would be found by its address alone."""
    nav = yaml.safe_load((root / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    pages = sorted(path.relative_to(root / "docs").as_posix() for path in (root / "docs").rglob("*.md"))
    assert sorted(nav_of(nav)) == pages


class Addresses(HTMLParser):
    """What a page of the site loads or leads to."""

    def __init__(self):
        super().__init__()
        self.loaded, self.linked = [], []

    def handle_starttag(self, tag, attrs):
        """Anchors lead somewhere; anything else is loaded when the page opens."""
        for name, value in attrs:
            if name in ("src", "href") and value:
                (self.linked if tag == "a" else self.loaded).append(value)


def faults_of(page, site):
    """Addresses of a page that no file answers, and files of elsewhere that it would load."""
    addresses = Addresses()
    addresses.feed(page.read_text(encoding="utf-8"))
    for address in (*addresses.loaded, *addresses.linked):
        path = unquote(urldefrag(address)[0])
        if re.match(r"[a-z]+:", path) or path.startswith("//"):
            if address in addresses.loaded and not path.startswith("data:"):
                yield f"{page.relative_to(site)} loads {address}"
        elif path and not (page.parent / path).exists() and not (site / path.lstrip("/")).exists():
            yield f"{page.relative_to(site)}: {address}"


@pytest.mark.slow
@pytest.mark.parametrize("builder", BUILDERS)
def test_site_is_built_without_a_warning_and_loads_nothing_from_elsewhere(root, tmp_path, builder):
    """From a copy, by the one mkdocs.yml; every address in the HTML has a file."""
    tool = shutil.which(builder, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if tool is None:
        pytest.skip(f"{builder} is not installed: make docs installs mkdocs, and zensical is tried where it is there")
    for name in ("docs", "base", "data_loader", "espalier", "logger", "model", "trainer", "utils"):
        shutil.copytree(root / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("mkdocs.yml", "train.py", "parse_config.py", "predict.py"):
        shutil.copy(root / name, tmp_path)
    site = tmp_path / "build" / "site"
    command = [tool, *BUILDERS[builder][1:], *([str(site)] if builder == "mkdocs" else [])]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True,
                          env={**os.environ, "NO_MKDOCS_2_WARNING": "1"})  # fmt: skip
    told = done.stdout + done.stderr
    assert done.returncode == 0, told
    assert told == "" if builder == "mkdocs" else "No issues found" in told, told
    pages = [*site.rglob("*.html")]
    assert len(pages) > 50
    assert [fault for page in pages for fault in faults_of(page, site)] == []
