"""The page of a server: one file that asks for nothing elsewhere, in a browser without a window."""

import base64
import hashlib
import json
import re
from dataclasses import replace

import pytest

from espalier.inference.meaning import Meaning
from tests.browser import chromium
from tests.espalier.serving.served import (
    Masks,
    ask,
    listening,
    model_of_pictures,
    model_of_rows,
    model_of_sums,
    model_of_texts,
    npy,
    picture,
)


def test_page_holds_all_that_it_needs():
    """Its style and script are those that its policy names by their hashes, and it names no other address."""
    (answer,) = ask(model_of_sums(), {"method": "GET", "url": "/"})
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    for name in ("style", "script"):
        (text,) = re.findall(f"<{name}>(.*?)</{name}>", answer.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy and "connect-src 'self'" in policy and "frame-ancestors 'none'" in policy
    assert {*re.findall(r"https?://[^\"'\s]+", answer.text)} <= {"http://www.w3.org/2000/svg"}
    assert not re.search(r"""\s(?:src|href|on\w+|style)=["'](?!data:,)""", answer.text)


@pytest.fixture(scope="module")
def browser():
    """Chromium without a window."""
    with chromium() as opened:
        yield opened


@pytest.fixture
def look(browser):
    """Open the page of a server; at the end the browser has complained of nothing, and asked nobody else."""
    pages, said, asked = [], [], []

    def open_page(address, **settings):
        page = browser.new_page(**{"viewport": {"width": 1280, "height": 800}, **settings})
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url.startswith((address, "blob:", "data:"))))
        page.goto(address)
        page.locator("#summary:not(:empty)").wait_for()
        pages.append(page)
        return page

    yield open_page
    assert all(page.evaluate("document.documentElement.scrollWidth <= innerWidth") for page in pages)
    # What a browser says of an answer that is a refusal, or of none.
    known = (
        "Failed to load resource: the server responded with a status of 4",
        "Failed to load resource: net::ERR_CONN",
    )
    assert [each for each in said if not each.startswith(known)] == []
    assert all(asked)
    for page in pages:
        page.close()


def files(*given):
    """Files as a browser is given them: name and content of each."""
    return [{"name": name, "mimeType": "", "buffer": content} for name, content in given]


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (400, "dark")])
def test_page_shows_a_picture_and_its_classes_beside_it(look, width, scheme):
    """Chosen or dropped; an error in words; the newest first."""
    with listening(model_of_pictures()) as address:
        page = look(address, viewport={"width": width, "height": 800}, color_scheme=scheme)
        assert page.inner_text("h1") == "Colours" and "Knows 3 classes" in page.inner_text("#summary")
        assert (
            page.evaluate("getComputedStyle(document.body).color")
            == f"rgb{(0, 0, 0) if scheme == 'light' else (255, 255, 255)}"
        )
        page.set_input_files("#files", files(("grün & <b>.png", picture("lime")), ("bad.png", b"\x89PNG\r\n\x1a\nno")))
        page.wait_for_selector("article h2")
        page.wait_for_selector("article .failed")
        assert page.inner_text("article h2") == "green"
        shown = page.locator("article", has=page.locator("h2"))
        assert shown.locator("figcaption").inner_text() == "grün & <b>.png"
        assert shown.locator("img").evaluate("each => each.naturalWidth") == 40
        assert shown.locator("dt").all_inner_texts() == ["green", "red", "blue"]
        widths = shown.locator(".bar").evaluate_all("all => all.map(each => each.getBoundingClientRect().width)")
        assert widths[0] > 20 * widths[1] > 0 and widths[1] == pytest.approx(widths[2], abs=1)
        share, _, _ = shown.locator("dd").all_inner_texts()
        assert re.fullmatch(r"\s*96\.5 %", share)
        failed = page.locator("article", has=page.locator(".failed"))
        assert failed.locator(".failed").inner_text() == "no image that can be read"
        assert failed.locator("figcaption").inner_text() == "bad.png"

        page.evaluate("""content => {
            const given = new DataTransfer();
            given.items.add(new File([Uint8Array.from(atob(content), each => each.charCodeAt(0))], "dropped.png"));
            dispatchEvent(new DragEvent("drop", {dataTransfer: given, cancelable: true}));
        }""", base64.b64encode(picture("blue")).decode())  # fmt: skip
        page.locator("article h2").nth(1).wait_for()
        assert page.locator("article").first.locator("h2").inner_text() == "blue"


@pytest.mark.slow
def test_page_colours_a_class_for_each_pixel(look):
    """And says what part of the picture each class has."""
    with listening(model_of_pictures(Masks(), names=("dark", "bright"))) as address:
        page = look(address)
        page.set_input_files("#files", files(("white.png", picture("white"))))
        page.wait_for_selector("article canvas")
        assert page.locator("article dt").all_inner_texts() == ["bright"]
        assert page.locator("article dd").all_inner_texts() == ["100.00 % of the picture"]
        pixel = "document.querySelector('canvas').getContext('2d').getImageData(3, 3, 1, 1).data"
        assert page.evaluate(f"[...{pixel}]") == [0, 0x72, 0xB2, 255]


@pytest.mark.slow
def test_page_takes_texts_a_line_each(look):
    """Each has its answer beside it."""
    with listening(model_of_texts()) as address:
        page = look(address)
        assert page.is_hidden("#drop")
        page.fill("textarea", "one\n\n<i>five</i> words")
        page.click("#send")
        page.locator("article pre").nth(1).wait_for()
        assert page.locator("article figcaption").all_inner_texts() == ["<i>five</i> words", "one"]
        assert page.locator("article pre").all_inner_texts() == ["9", "1"]


@pytest.mark.slow
def test_page_has_a_field_for_each_column_of_a_row(look):
    """With the values that training has seen; one that is left empty is a gap. A table is a file."""
    with listening(model_of_rows()) as address:
        page = look(address)
        assert page.locator("#row label").all_inner_texts() == ["size", "shape"]
        assert page.locator("#row option").evaluate_all("all => all.map(each => each.value)") == ["round", "long"]
        page.fill("#column-size", "2.5")
        page.press("#column-size", "Enter")
        page.locator("article pre").wait_for()
        page.fill("#column-size", "many")
        page.click("#send")
        page.locator("article .failed").wait_for()
        assert page.locator("article figcaption").all_inner_texts() == ["size many", "size 2.5"]
        assert page.locator("article pre").all_inner_texts() == ["2.5"]
        page.set_input_files("#files", files(("rows.csv", b"shape,size,more\nround,1,x\nlong,2,x\n")))
        page.locator("article table").wait_for()
        assert page.locator("article td").all_inner_texts() == ["1", "1", "", "2", "2", ""]


@pytest.mark.slow
def test_page_takes_arrays_as_files_and_as_json(look):
    """Several inputs are a table."""
    with listening(model_of_sums()) as address:
        page = look(address)
        page.set_input_files("#files", files(("two.npy", npy([[1.0, 2, 30], [30, 1, 1]]))))
        page.wait_for_selector("article table")
        assert page.locator("article td").all_inner_texts() == ["1", "c", "100.00 %", "2", "a", "100.00 %"]
        for text in ('{"inputs": [[1, 2]]}', "nonsense"):
            page.fill("textarea", text)
            page.click("#send")
        page.locator("article .failed").nth(1).wait_for()
        assert page.locator("article .failed").all_inner_texts() == [
            "the JSON cannot be read: Expecting value: line 1 column 1 (char 0)",
            "the input is another (got (2,); expected arrays of three numbers)",
        ]


@pytest.mark.slow
def test_page_has_a_row_for_each_box(look):
    """With its class and score; and a line in words where nothing was found."""
    found = {"boxes": [[1.0, 2.0, 30.123456, 40.0]], "labels": ["cat"], "scores": [0.75]}
    nothing = {"boxes": [], "labels": [], "scores": []}
    model = replace(model_of_sums(), meaning=Meaning("outputs"))
    model.interpret = lambda output: [found if each[0] else nothing for each in output]
    with listening(model) as address:
        page = look(address)
        for first in (0, 1):
            page.fill("textarea", json.dumps({"inputs": [[first, 0, 0]]}))
            page.click("#send")
        page.locator("article table").wait_for()
        page.locator("article h2").wait_for()
        assert page.locator("article td").all_inner_texts() == ["cat", "75.0 %", "1", "2", "30.12", "40"]
        assert page.inner_text("article h2") == "nothing found"


@pytest.mark.slow
def test_page_says_that_its_server_is_gone(look):
    """In words, beside the input."""
    with listening(model_of_texts()) as address:
        page = look(address)
    page.fill("textarea", "one")
    page.click("#send")
    page.wait_for_selector("article .failed")
    assert page.inner_text("article .failed") == "The server does not answer."
