"""The page of runs: whole, small, alone, and without what is nobody's business."""

import copy
import functools
import html
import json
import re

import pytest

from espalier.report.compare import compare
from espalier.report.find import find_runs
from espalier.report.page import page
from espalier.report.privacy import public
from tests.browser import chromium
from tests.espalier.report.folders import is_same, make_run, rows_of


def page_of(root):
    """The page of the runs under a folder."""
    return page(compare(find_runs([root])[0]), "My runs")


def data_of(text):
    """What the script of a page draws."""
    data = json.loads(re.search(r'<script id="data-curves" type="application/json">(.*?)</script>', text, re.DOTALL)[1])
    for run in data["runs"]:
        run["columns"] = {name: [each["first"] + each["by"] * row for row in range(each["size"])]
                          if isinstance(each, dict) else each for name, each in run["columns"].items()}  # fmt: skip
    return data


def test_curves_are_the_numbers_of_the_runs(tmp_path):
    """To five digits; what is no number is a gap, and an evaluation within an epoch lies within it."""
    rows = rows_of(4)
    rows.insert(2, {"epoch": 3, "step": 25, "val_loss": 0.4})
    rows[3]["val_accuracy"] = None
    make_run(tmp_path, "a", rows)
    (run,) = data_of(page_of(tmp_path))["runs"]
    columns = run["columns"]
    assert columns["epoch"] == [1, 2, 2.5, 3, 4]
    assert columns["step"] == [10, 20, 25, 30, 40]
    assert columns["seconds"] == [2, 4, 4, 6, 8]
    for name in ("loss", "val_loss", "accuracy", "val_accuracy"):
        expected = [row.get(name) for row in rows]
        assert all(map(is_same, columns[name], expected)), (columns[name], expected)


def test_page_needs_nothing_from_elsewhere_and_stays_small(tmp_path):
    """Ten runs of a hundred epochs are under a megabyte and a half; no address is in it but that of SVG."""
    for number in range(10):
        make_run(tmp_path, f"run{number}", rows_of(100), optimizer__args__lr=0.1 * number)
    text = page_of(tmp_path)
    assert len(text.encode()) < 1_500_000
    assert {*re.findall(r"https?://[^\"'\s]+", text)} == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"<(link|img|script)[^>]*\s(src|href)=", text)
    assert "{{" not in text.replace("${{", "")


SECRETS = {
    "command": "/home/me/venv/bin/python train.py -c /home/me/a/config.json user.api_key=abcdef logger.token=ghijkl",
    "reason": "FileNotFoundError: [Errno 2] No such file or directory: '/mnt/lab/data.npz'",
}


def test_page_has_no_absolute_path_and_no_secret(tmp_path):
    """Neither of the command, nor of an error, the config or the log."""
    process = {
        "state": "failed",
        "reason": SECRETS["reason"],
        "command": SECRETS["command"],
        "folder": "/home/me/thesis",
    }
    log = "2026-01-01 10:00:00,000 - trainer - WARNING - /home/me/thesis/saved could not be written.\n"
    make_run(
        tmp_path, processes=[process], log=log, data_loader={"args": {"data_dir": "/mnt/lab", "password": "hunter2"}}
    )
    text = html.unescape(page_of(tmp_path))
    for word in ("/home", "/mnt", "hunter2", "abcdef", "ghijkl", str(tmp_path)):
        assert word not in text
    for word in ("train.py -c .../config.json", "No such file or directory: '.../data.npz'", ".../saved could not"):
        assert word in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a/b stays, 1/2 too, and/or", "a/b stays, 1/2 too, and/or"),
        ("/usr/bin/python x", ".../python x"),
        ("at ~/runs/a.json:3", "at .../a.json:3"),
        (r"C:\Users\me\x.py failed", ".../x.py failed"),
        ("out=/tmp/a and 'in=/tmp/b'", "out=.../a and 'in=.../b'"),
        ("https://me:word@host.org/a/b", "https://***@host.org/a/b"),
        ('{"token": "abc", "n": 2}', '{"token": ***, "n": 2}'),
        ("WANDB_API_KEY=abc x", "WANDB_API_KEY=*** x"),
        ("the token of a text", "the token of a text"),
    ],
)
def test_public_text_keeps_what_tells_something(text, expected):
    """The last part of a path, the name of a secret."""
    assert public(text) == expected


def test_what_runs_contain_is_text_not_markup(tmp_path):
    """A name or a value may be anything."""
    make_run(tmp_path, name="<b>&", optimizer__args__lr="</script><script>alert(1)</script>")
    make_run(tmp_path, "b", name="<b>&")
    text = page_of(tmp_path)
    assert "<b>&" not in text
    scripts = 4  # the page, the board, the data of the curves, the curves
    assert text.count("<script") == text.count("</script>") == scripts
    assert data_of(text)["runs"][0]["label"].startswith("lr=</script>")


PROCESS = {"state": "finished", "reason": "done", "command": "python train.py", "processes": 2, "python": "3.11",
           "git": {"commit": "0123", "diff": "x"}, "packages": {"torch": "2.7"},
           "device": {"type": "cuda", "name": "A", "count": 1}, "peak_memory_bytes": {"process": 1},
           "speed": {"steps_per_second": 2.0}}  # fmt: skip
VALIDATION = {"epoch": 1, "confusion": {"classes": ["0", "1"], "counts": [[2, 1], [0, 3]]}}
TEST = {
    "checkpoint": "last.pth",
    "metrics": {"loss": 1.0},
    "num_samples": 3,
    "intervals": {"loss": [0.5, 1.5]},
    "sets": [],
}
ODD = [None, -1, "x", [], {}, float("inf"), [[1]]]


def places(value, path=()):
    """Every place in nested values."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl", "run.json", "test.json", "validation.json"])
def test_page_of_a_run_with_any_odd_value_is_written(tmp_path, name):
    """A file may be of another version, or changed by hand; each place of each file gets some values in turn."""
    folder = make_run(tmp_path, processes=[PROCESS])
    (folder / "test.json").write_text(json.dumps({"evaluations": [TEST]}))
    (folder / "validation.json").write_text(json.dumps(VALIDATION))
    lines = (folder / name).read_text().splitlines()
    values = [json.loads(line) for line in lines] if name.endswith("jsonl") else json.loads("".join(lines))
    for number, path in enumerate(places(values)):
        for odd in (ODD[(number + shift) % len(ODD)] for shift in (0, 2, 3)):
            changed = {"all": copy.deepcopy(values)}
            *parents, last = ("all", *path)
            functools.reduce(lambda inner, key: inner[key], parents, changed)[last] = odd
            rows = changed["all"] if name.endswith("jsonl") and isinstance(changed["all"], list) else [changed["all"]]
            (folder / name).write_text("".join(f"{json.dumps(row)}\n" for row in rows))
            assert page_of(tmp_path).endswith("</html>\n"), (path, odd)


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 400])
def test_page_in_a_browser_shows_the_numbers_and_zooms(tmp_path, width):
    """No error in the console, nothing wider than the screen; filter, sorting, log scale and hidden runs work."""
    for number in range(12):
        make_run(tmp_path, f"run{number}", rows_of(20, begin=1 + number), optimizer__args__lr=0.1 * (number + 1),
                 trainer__epochs=20)  # fmt: skip
    path = tmp_path / "report.html"
    path.write_text(page_of(tmp_path), encoding="utf-8")
    with chromium() as browser:
        tab = browser.new_page(viewport={"width": width, "height": 800})
        said, asked = [], []
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(path.as_uri())
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        shown = [cell.inner_text() for cell in tab.query_selector_all("#board tbody tr:first-child td")]
        assert f"{1 / 19:.4g}" in shown
        lines = "figure:first-child svg path"
        assert tab.locator(lines).count() == 24
        labels = "Array.from(document.querySelectorAll('figure:first-child svg text'), each => each.textContent)"
        before = tab.evaluate(labels)
        chart = tab.locator("figure:first-child svg")
        chart.scroll_into_view_if_needed()
        box = chart.bounding_box()
        middle = box["y"] + box["height"] / 2
        tab.mouse.move(box["x"] + box["width"] * 0.6, middle)
        assert (
            "run" in tab.locator("figure:first-child .tip").inner_text()
            or "lr=" in tab.locator(".tip").first.inner_text()
        )
        tab.mouse.down()
        tab.mouse.move(box["x"] + box["width"] * 0.9, middle)
        tab.mouse.up()
        is_same = f"before => JSON.stringify({labels}) === JSON.stringify(before)"  # drawn when the browser is ready to
        tab.wait_for_function(f"before => !({is_same})(before)", arg=before)
        chart.dblclick()
        tab.wait_for_function(is_same, arg=before)
        tab.check("#log")
        tab.wait_for_function(f"before => !({is_same})(before)", arg=before)
        tab.locator("#board tbody input").first.uncheck()
        tab.wait_for_function(f"document.querySelectorAll('{lines}').length === 22")
        tab.fill("#filter", "lr=0.3")
        assert tab.locator("#board tbody tr:visible").count() == 1
        tab.fill("#filter", "")
        heading = tab.locator("#board th", has_text="val_loss")
        order = "Array.from(document.querySelectorAll('#board tbody tr'), row => row.dataset.run)"
        heading.click()
        first = tab.evaluate(order)
        heading.click()
        assert tab.evaluate(order) == first[::-1]
        assert said == []
        assert asked == [path.as_uri()]


@pytest.mark.slow
@pytest.mark.parametrize("seeds_together", [False, True])
def test_page_in_a_browser_has_no_error_whatever_the_values(tmp_path, seeds_together):
    """Huge, negative, not finite, alone, none at all; names that JavaScript has itself; every scale and axis."""
    rows = [{"epoch": epoch, "loss": 1e308 * (-1) ** epoch, "val_loss": -1e-9, "constructor": float("nan"),
             "__proto__": epoch, "toString": 5, "seconds": 1.0} for epoch in range(1, 30)]  # fmt: skip
    for seed in (1, 2):
        make_run(tmp_path, f"odd{seed}", rows, seed=seed, name="<b>\u202e\"'")
        make_run(tmp_path, f"one{seed}", rows_of(1), seed=seed)
    make_run(tmp_path, "none", [], optimizer__args__lr=1)
    path = tmp_path / "report.html"
    path.write_text(page(compare(find_runs([tmp_path])[0], seeds_together=seeds_together)), encoding="utf-8")
    with chromium() as browser:
        tab, said = browser.new_page(viewport={"width": 400, "height": 8000}), []
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.goto(path.as_uri())
        tab.wait_for_selector("path.line", state="attached")
        for axis in ("step", "seconds", "epoch"):
            tab.select_option("#axis", axis)
            tab.set_checked("#log", axis == "seconds")
            tab.locator("#smooth").fill("0.5")
            for chart in tab.locator("figure svg").all():
                chart.hover()
        assert tab.evaluate("document.documentElement.scrollWidth") <= 400
        assert [each.text_content() for each in tab.locator("figcaption").all()][:2] == ["loss", "__proto__"]
        assert said == []
