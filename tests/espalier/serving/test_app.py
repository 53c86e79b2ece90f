"""What a server says to what it is sent: predictions, or a sentence."""

import asyncio
import base64
import json
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from espalier.preprocessing.functions import Function
from espalier.serving.app import build_app
from espalier.serving.flags import Limits
from espalier.serving.refusal import Json
from tests.espalier.serving.served import (
    ask,
    bomb,
    client_of,
    model_of_pictures,
    model_of_rows,
    model_of_sums,
    model_of_texts,
    npy,
    picture,
)

THREE = {"inputs": [[1, 2, 3], [3.5, 2, 1], [0, 9, 0]]}
JSON = {"content-type": "application/json"}


def told(response):
    """Status and sentence of an answer that has one."""
    assert response.headers["content-type"] == "application/json"
    return response.status_code, response.json()["error"]


def test_predictions_have_label_probability_and_all_probabilities():
    """One for each input, in their order."""
    (answer,) = ask(model_of_sums(), {"json": THREE})
    assert answer.status_code == 200
    predictions = answer.json()["predictions"]
    assert [each["label"] for each in predictions] == ["c", "a", "b"]
    shares = np.exp([1, 2, 3]) / np.exp([1, 2, 3]).sum()
    assert predictions[0]["probability"] == pytest.approx(shares[2])
    assert predictions[0]["probabilities"] == pytest.approx(dict(zip("abc", shares, strict=True)))


def test_predictions_of_a_form_have_the_names_of_its_files():
    """Several files, each with several inputs, in their order."""
    files = [("x", ("one.npy", npy([[1.0, 2, 3], [9, 1, 1]]))), ("y", ("two é.json", json.dumps(THREE).encode()))]
    (answer,) = ask(model_of_sums(), {"files": files})
    said = [(each["name"], each["label"]) for each in answer.json()["predictions"]]
    assert said == [("one.npy", "c"), ("one.npy", "a"), ("two é.json", "c"), ("two é.json", "a"), ("two é.json", "b")]


def test_predictions_of_an_input_do_not_hang_on_its_company():
    """A bad input is told at its place, and the others are predicted."""
    inputs = [[1, 2, 3], [1, 2], "text", None, [1, "a", 2], {"x": 1}, [3, 2, 1]]
    (answer,) = ask(model_of_sums(), {"json": {"inputs": inputs}})
    assert answer.status_code == 200
    said = [each.get("label") or each["error"] for each in answer.json()["predictions"]]
    assert said == [
        "c",
        "the input is another (got (2,); expected arrays of three numbers)",
        "a text in place of an array of numbers",
        "null in place of an array of numbers",
        "no array of numbers",
        "RuntimeError: Could not infer dtype of dict",
        "a",
    ]


def test_request_whose_inputs_are_all_bad_is_422():
    """With the sentence of the first, and of each where there are several."""
    one, two = ask(model_of_sums(), {"json": {"inputs": [[1]]}}, {"json": {"inputs": ["a", [1]]}})
    shape = "the input is another (got (1,); expected arrays of three numbers)"
    assert (one.status_code, one.json()) == (422, {"error": shape})
    text = "a text in place of an array of numbers"
    assert (two.status_code, two.json()) == (422, {"error": text, "predictions": [{"error": text}, {"error": shape}]})


BAD_BODIES = {
    "empty": (b"", 400, "the JSON cannot be read: Expecting value: line 1 column 1 (char 0)"),
    "cut short": (b'{"inputs": 1', 400, "the JSON cannot be read: Expecting ',' delimiter: line 1 column 13 (char 12)"),
    "a list": (b"[1]", 422, 'the JSON has no list of inputs: it has to be {"inputs": [...]}'),
    "no list": (b'{"inputs": 3}', 422, 'the JSON has no list of inputs: it has to be {"inputs": [...]}'),
    "none": (b'{"inputs": []}', 400, "the request has no input"),
    "NaN": (b'{"inputs": [[NaN, 1, 2]]}', 400, "the JSON cannot be read: NaN is no number"),
    "too large": (b'{"inputs": [[1e999, 1, 2]]}', 422, "a number is too large"),
    "deep": (b'{"inputs": ' + b"[" * 100_000, 400, "the JSON cannot be read: it is nested too deep"),
    "many": (json.dumps({"inputs": [[1, 2, 3]] * 1001}).encode(), 413, "too many inputs: at most 1,000 in one request"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_BODIES)
def test_bad_json_is_told_in_a_sentence(name):
    """With a status of its kind."""
    body, status, sentence = BAD_BODIES[name]
    (answer,) = ask(model_of_sums(), {"content": body, "headers": JSON})
    assert told(answer) == (status, sentence)


@pytest.mark.parametrize(
    ("headers", "sentence"),
    [
        ({"content-type": "text/html; charset=utf-8"}, "a body of the type text/html is not taken: it may be one of "
         "multipart/form-data, application/x-npy, application/octet-stream, application/json"),
        ({}, "a body of the type unknown is not taken: it may be one of multipart/form-data, application/x-npy, "
         "application/octet-stream, application/json"),
        ({**JSON, "content-encoding": "gzip"}, "a compressed body is not taken: send it without Content-Encoding"),
    ],
)  # fmt: skip
def test_body_of_another_kind_is_415(headers, sentence):
    """It is said what is taken."""
    (answer,) = ask(model_of_sums(), {"content": b"{}", "headers": headers})
    assert told(answer) == (415, sentence)


FORM = {"content-type": "multipart/form-data; boundary=B"}
PART = b'--B\r\nContent-Disposition: form-data; name="x"; filename="x.npy"\r\n\r\n'


@pytest.mark.parametrize(
    ("headers", "body", "status", "sentence"),
    [
        ({"content-type": "multipart/form-data"}, b"", 400, "the form cannot be read: Missing boundary in multipart."),
        (FORM, b"", 400, "the form cannot be read: it is cut short"),
        (FORM, PART + npy([[1, 2, 3]]), 400, "the form cannot be read: it is cut short"),
        (FORM, b"nothing of the sort", 400, "the form cannot be read: Invalid multipart data."),
        (FORM, b"--B--\r\n", 400, "the request has no input"),
        (FORM, PART + npy([[1, 2, 3]]) + b"\r\n--B--\r\n", 200, None),
        (FORM, PART + b"\r\n--B--\r\n", 400,
         "the array cannot be read: EOF: reading magic string, expected 8 bytes got 0"),
        (FORM, PART.replace(b".npy", b".exe") + b"MZ\r\n--B--\r\n", 415,
         "the file x.exe is not taken: it has to be .npy, or .json"),
    ],
)  # fmt: skip
def test_form_is_read_whole_or_refused(headers, body, status, sentence):
    """None of its files is lost in silence."""
    (answer,) = ask(model_of_sums(), {"content": body, "headers": headers})
    assert answer.status_code == status
    assert answer.json().get("error") == sentence


def test_paths_and_methods_that_are_not_there_are_told():
    """In JSON, too; and no page of documentation asks for anything elsewhere."""
    model = model_of_sums()
    known = "there is nothing here: the paths are /predict, /about, /health, /metrics and /"
    asked = [("GET", "/x"), ("GET", "/docs"), ("POST", "/predict/"), ("GET", "/predict"), ("DELETE", "/health")]
    answers = ask(model, *({"method": method, "url": path} for method, path in asked))
    assert [told(each) for each in answers] == [(404, known)] * 3 + [
        (405, "GET does not go here"),
        (405, "DELETE does not go here"),
    ]
    assert answers[3].headers["allow"] == "POST"


def test_page_of_another_site_may_not_ask():
    """A browser says where a request is from."""
    requests = [{"json": THREE, "headers": {"sec-fetch-site": site}} for site in ("cross-site", "same-origin", "none")]
    answers = ask(model_of_sums(), *requests)
    assert [each.status_code for each in answers] == [403, 200, 200]
    assert told(answers[0]) == (403, "a page of another site may not use this model")
    assert not [name for answer in answers for name in answer.headers if name.startswith("access-control")]


def test_body_that_is_too_large_is_refused_before_it_is_read():
    """By what it declares, and without a length by what has come."""
    num_read = 0

    async def endless():
        nonlocal num_read
        while True:
            num_read += 1
            yield b"x" * 1000

    async def run():
        async with client_of(build_app(model_of_sums(), Limits(most_bytes=5_000))) as client:
            declared = await client.post("/predict", content=b" " * 5001, headers=JSON)
            allowed = await client.post("/predict", content=json.dumps(THREE).ljust(5000).encode(), headers=JSON)
            huge = await client.post("/predict", content=b"", headers={**JSON, "content-length": "9" * 30})
            return declared, allowed, huge, await client.post("/predict", content=endless(), headers=JSON)

    declared, allowed, huge, streamed = asyncio.run(run())
    sentence = "the request is too large: at most 0.0 MB are taken"
    assert allowed.status_code == 200
    assert [told(each) for each in (declared, huge, streamed)] == [(413, sentence)] * 3
    assert [each.headers["connection"] for each in (declared, huge, streamed)] == ["close"] * 3
    assert num_read < 200_000  # of which only six were kept


def test_request_that_is_one_too_many_is_refused_at_once():
    """With when to try again; those that are in are answered."""
    model, may_go_on = model_of_sums(), threading.Event()
    model.network.before = lambda inputs: may_go_on.wait(60)

    async def run():
        async with client_of(build_app(model, Limits(queue=3))) as client:
            waiting = [asyncio.create_task(client.post("/predict", json=THREE)) for _ in range(3)]
            for _ in range(1000):
                if "espalier_open_requests 3" in (await client.get("/metrics")).text:
                    break
                await asyncio.sleep(0.01)
            refused, health = await client.post("/predict", json=THREE), await client.get("/health")
            may_go_on.set()
            return refused, health, await asyncio.gather(*waiting)

    refused, health, answers = asyncio.run(run())
    assert told(refused) == (503, "too many requests at once: at most 3")
    assert refused.headers["retry-after"] == "1" and health.status_code == 200
    assert [each.status_code for each in answers] == [200] * 3


def test_request_that_takes_too_long_is_504():
    """The next one is answered."""
    model, may_go_on = model_of_sums(), threading.Event()
    model.network.before = lambda inputs: may_go_on.wait(60)

    async def run():
        async with client_of(build_app(model, Limits(timeout_s=0.2, batch_size=1))) as client:
            late = await client.post("/predict", json=THREE)
            may_go_on.set()
            model.network.before = lambda inputs: None
            service_is_ready = await client.get("/health")
        return late, service_is_ready

    late, health = asyncio.run(run())
    assert told(late) == (504, "there was no answer within 0.2 s")
    assert health.json()["ready"] is True


def test_body_that_does_not_come_is_408():
    """A client that sends nothing more holds its place for no longer than a request may take."""

    async def slow():
        yield b"{"
        await asyncio.sleep(60)

    async def run():
        async with client_of(build_app(model_of_sums(), Limits(timeout_s=0.1))) as client:
            return await client.post("/predict", content=slow(), headers=JSON)

    assert told(asyncio.run(run())) == (408, "the request did not come within 0.1 s")


def test_metrics_count_what_was_done():
    """Requests by status, inputs, and sizes of batches, as Prometheus reads them."""
    answers = ask(model_of_sums(), {"json": THREE}, {"json": {"inputs": [[1, 2, 3], "a"]}}, {"content": b"x"},
                  {"method": "GET", "url": "/metrics"}, batch_size=4)  # fmt: skip
    assert answers[-1].headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = answers[-1].text.splitlines()
    assert {'espalier_requests_total{status="200"} 2', 'espalier_requests_total{status="415"} 1',
            'espalier_inputs_total{result="predicted"} 4', 'espalier_inputs_total{result="refused"} 1',
            'espalier_batch_inputs_bucket{le="1"} 1', 'espalier_batch_inputs_bucket{le="4"} 2',
            'espalier_batch_inputs_bucket{le="+Inf"} 2', "espalier_batch_inputs_count 2",
            "espalier_request_seconds_count 3", "espalier_open_requests 0",
            "# TYPE espalier_request_seconds histogram"} <= {*lines}  # fmt: skip


def test_about_tells_of_the_model_without_paths_of_the_machine():
    """Classes, what it takes, figures and versions."""
    model = model_of_sums(facts={"checkpoint": "/home/somebody/saved/models/Net/0701/model_best.pth", "epoch": 3})
    (answer,) = ask(model, {"method": "GET", "url": "/about"}, batch_size=7)
    found = answer.json()
    assert "somebody" not in answer.text
    assert found["name"] == "Net/0701" and found["classes"] == ["a", "b", "c"] and found["gives"] == "classes"
    assert found["takes"] == "arrays of three numbers" and found["limits"]["batch_size"] == 7
    assert found["facts"] == {"checkpoint": ".../model_best.pth", "epoch": 3}


def test_requests_at_once_are_computed_together_and_answered_apart():
    """Sixty clients, of whom each has its own answers."""
    model = model_of_sums()
    inputs = np.random.default_rng(0).normal(size=(60, 3))

    async def run():
        async with client_of(build_app(model, Limits(batch_size=16))) as client:
            return await asyncio.gather(*(client.post("/predict", json={"inputs": [row.tolist()]}) for row in inputs))

    answers = asyncio.run(run())
    assert ["abc".index(each.json()["predictions"][0]["label"]) for each in answers] == inputs.argmax(1).tolist()
    assert max(model.network.sizes) > 1 and max(model.network.sizes) <= 16 and sum(model.network.sizes) == 60


def test_request_that_the_network_cannot_take_costs_the_others_nothing():
    """Even where it is in one batch with them."""
    model = model_of_sums({"is_three": False})
    rows = [[1.0, 2, 3]] * 5 + [[1.0, 2]] + [[3.0, 2, 1]] * 5

    async def run():
        async with client_of(build_app(model, Limits(most_wait_ms=50))) as client:
            return await asyncio.gather(*(client.post("/predict", json={"inputs": [row]}) for row in rows))

    answers = asyncio.run(run())
    assert [each.status_code for each in answers] == [200] * 5 + [422] + [200] * 5
    assert told(answers[5]) == (422, "the model cannot take the input: RuntimeError: The size of tensor a (2) must "
                                "match the size of tensor b (3) at non-singleton dimension 1")  # fmt: skip


def test_number_that_json_has_no_word_for_is_null():
    """Not a number that breaks the reader of the answer."""
    model = model_of_sums()
    model.network.forward = lambda inputs: inputs * float("nan")
    (answer,) = ask(model, {"json": THREE})
    assert answer.json()["predictions"][0]["probabilities"] == {"a": None, "b": None, "c": None}


def test_text_of_half_a_character_comes_back_as_it_may():
    """No encoding has it, and an answer with it is one all the same."""
    assert json.loads(Json({"error": "é \ud800"}).body) == {"error": "é \ud800"}


def test_fault_of_ours_is_500_with_a_sentence():
    """Not with what is inside; and the next request is answered."""
    model = model_of_sums()

    def fail(inputs):
        model.network.before = lambda inputs: None
        raise OSError("of the house")

    model.network.before = fail
    failed, answered, metrics = ask(model, {"json": THREE}, {"json": THREE}, {"method": "GET", "url": "/metrics"})
    assert told(failed) == (500, "the server has failed at this; its log says how")
    assert answered.status_code == 200
    assert 'espalier_requests_total{status="500"} 1' in metrics.text


class Short(torch.nn.Module):
    """Stands for a network that needs more memory for five samples than there is."""

    def forward(self, inputs):
        if len(inputs) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return inputs


def test_batch_that_does_not_fit_into_memory_is_computed_one_by_one():
    """And an input that does not fit by itself is told."""
    model = model_of_sums()
    model.network = Short()
    model.forward = model.network.forward
    (answered,) = ask(model, {"json": {"inputs": [[1, 2, 3]] * 6}})
    assert [each["label"] for each in answered.json()["predictions"]] == ["c"] * 6

    def refuse(inputs):
        raise torch.OutOfMemoryError("CUDA out of memory")

    model.forward = refuse
    (refused,) = ask(model, {"json": {"inputs": [[1, 2, 3]]}})
    assert told(refused) == (422, "the model needs more memory for it than there is")


def said(answer):
    """The predictions of an answer: of each its label, value or error."""
    assert answer.status_code == 200, answer.text
    return [each.get("label") or each.get("value") or each["error"] for each in answer.json()["predictions"]]


def test_pictures_are_taken_as_a_body_a_form_a_text_and_an_array():
    """Of every kind that training reads; each by itself."""
    encoded = "data:image/webp;base64," + base64.b64encode(picture("lime", form="WEBP")).decode()
    bodies = [
        *({"content": picture("lime", form=form), "headers": {"content-type": "image/anything"}} for form in
          ("PNG", "JPEG", "GIF", "BMP", "TIFF")),
        {"files": [("file", ("x.jpg", picture("lime", form="JPEG")))]},
        {"json": {"inputs": [encoded]}},
        {"json": {"inputs": [np.full((9, 9, 3), (0, 255, 0)).tolist()]}},
        {"files": [("file", ("x.npy", npy(np.full((1, 9, 9, 3), (0, 255, 0), dtype="uint8"))))]},
    ]  # fmt: skip
    assert [said(each) for each in ask(model_of_pictures(), *bodies)] == [["green"]] * len(bodies)


def test_picture_that_cannot_be_read_is_told_and_a_huge_one_refused(tmp_path):
    """What a text names is never opened."""
    (tmp_path / "secret.png").write_bytes(picture("lime"))
    inputs = [str(tmp_path / "secret.png"), {"path": str(tmp_path / "secret.png")}, "data:image/png;base64,####",
              "data:image/png;base64,AAAA"]  # fmt: skip
    bodies = [{"content": content, "headers": {"content-type": "image/png"}} for content in (b"", b"no", bomb())]
    several = {"files": [("x", (f"{number}.png", picture("red", (100, 100)))) for number in range(3)]}
    *answers, three = ask(model_of_pictures(), {"json": {"inputs": inputs}}, *bodies, several, most_pixels=29_999)
    assert [each["error"] for each in answers[0].json()["predictions"]] == [
        'a text in place of an image: it has to be "data:image/png;base64,..."',
        "an object in place of an image",
        "the text of the image is no base64",
        "no image that can be read",
    ]
    assert [told(each) for each in answers[1:]] == [
        (422, "an empty file"),
        (422, "no image that can be read"),
        (413, "too many pixels: at most 29,999 in one request"),
    ]
    assert told(three) == (413, "too many pixels: at most 29,999 in one request")


def test_rows_are_taken_as_json_and_as_a_table():
    """A row that lacks a column, or has no number in it, is told at its place; a table that lacks it as a whole."""
    rows = [{"size": 3, "shape": "long"}, {"size": None, "shape": "round"}, {"shape": "long"},
            {"size": "x", "shape": "long"}, {"size": [1], "shape": "long"}, {"size": 1e999, "shape": "long"},
            3]  # fmt: skip
    content = json.dumps({"inputs": rows}).replace("Infinity", "1e999").encode()
    csv = {"content-type": "text/csv; charset=utf-8"}
    found = ask(model_of_rows(), {"content": content, "headers": JSON},
                {"content": b"shape,size,label\nlong,3,x\nround,,y\n", "headers": csv},
                {"files": [("x", ("rows.tsv", b"shape\tsize\nlong\t4\n"))]},
                {"content": b"shape,weight\nlong,3\n", "headers": csv}, {"content": b" \n", "headers": csv},
                {"content": b"a,b\n1,2,3\n", "headers": csv})  # fmt: skip
    assert [each.get("value", each.get("error")) for each in found[0].json()["predictions"]] == [
        [3.0], [0.0],
        "the row has no 'size' (got shape; expected size, shape; fix give null, or None, where there is no value)",
        found[0].json()["predictions"][3]["error"], "the cell of size is a list", "the number of size is too large",
        "a number in place of a row: it has to be an object, a cell for each column",
    ]  # fmt: skip
    assert "size" in found[0].json()["predictions"][3]["error"]
    assert [said(each) for each in found[1:3]] == [[[3.0], [0.0]], [[4.0]]]
    assert [each.status_code for each in found[3:]] == [422, 400, 400]
    assert "the table has no 'size'" in told(found[3])[1] and told(found[4])[1] == "the body is empty"
    assert "/" not in told(found[5])[1] and "input-" not in told(found[5])[1]


def test_file_that_cannot_be_used_costs_the_others_nothing():
    """Of another kind, damaged, or a table that lacks a column: it is told at its place, by its name."""
    contents = {"a.csv": b"shape,size\nlong,3\nround,4\n", "b.csv": b" ", "c.csv": b"weight\n3\n", "d.exe": b"MZ"}
    (answer,) = ask(model_of_rows(), {"files": [("x", each) for each in contents.items()]})
    assert answer.status_code == 200
    found = [(each["name"], each.get("value", each.get("error"))) for each in answer.json()["predictions"]]
    assert found == [
        ("a.csv", [3.0]), ("a.csv", [4.0]), ("b.csv", "the file is empty"), ("c.csv", found[3][1]),
        ("d.exe", "the file d.exe is not taken: it has to be .csv or .tsv, or .json"),
    ]  # fmt: skip
    assert found[3][1].startswith("the table has no 'size'")
    (many,) = ask(model_of_rows(), {"files": [("x", each) for each in contents.items()]}, most_inputs=3)
    assert told(many) == (413, "too many inputs: at most 3 in one request")


def test_texts_are_taken_a_line_each_as_json_and_as_a_table():
    """With the words that each has."""
    bodies = [
        {"content": "one\ntwo wörds\n".encode(), "headers": {"content-type": "text/plain"}},
        {"json": {"inputs": ["one", "two words"]}},
        {"json": {"inputs": [{"text": "one"}, {"text": "two words"}]}},
        {"files": [("x", ("a.csv", b"text,n\none,1\ntwo words,2\n"))]},
        {"files": [("x", ("a.txt", b"one")), ("y", ("b.txt", b"two words"))]},
        {"data": {"x": "one", "y": "two words"}, "files": [("z", ("c.txt", b"three"))]},
    ]
    *answers, both = ask(model_of_texts(), *bodies)
    assert [said(each) for each in answers] == [[[1.0], [2.0]]] * len(answers)
    assert said(both) == [[1.0], [2.0], [1.0]]
    (bad,) = ask(model_of_texts(), {"content": b"\xff\xfe\x00", "headers": {"content-type": "text/plain"}})
    assert bad.status_code == 400 and "the table is no text in utf-8" in told(bad)[1]


def test_function_of_a_project_is_given_a_file_by_a_path_of_ours_alone():
    """With the ending that the client's has; a text is never a path."""
    seen = []

    def length(value):
        seen.append(value)
        return [float(len(value.read_bytes())) if hasattr(value, "read_bytes") else float(len(value))] * 3

    model = replace(model_of_sums(), preprocessing=Function({"kind": "function", "function": "my.length"}, length))
    files = [("x", (name, b"abc")) for name in ("a.wav", "../../b.w/av", "/etc/passwd")]
    inputs = ["/etc/passwd", {"a": "/etc/passwd"}, [["/etc/passwd"]]]
    form, values, texts = ask(
        model, {"files": files}, {"json": {"inputs": [[1, 2], {"a": 1}]}}, {"json": {"inputs": inputs}}
    )
    assert len(form.json()["predictions"]) == 3 and len(values.json()["predictions"]) == 2
    assert [path.suffix for path in seen[:3]] == [".wav", "", ""] and not any(path.exists() for path in seen[:3])
    assert all(path.name.startswith("input-") for path in seen[:3]) and seen[3:] == [[1, 2], {"a": 1}]
    assert told(texts) == (422, "a text in place of an array of numbers")
