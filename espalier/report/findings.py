"""What `test.py` has found out, for the page of a run: confusion, classes, calibration, the worst samples."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

from espalier.own_file import read_regular
from espalier.report.html import cell, heads, wide
from espalier.report.record import RunRecord
from espalier.report.table import Table, number
from espalier.report.tested import titles

_MOST_CLASSES = 40  # of a confusion matrix; a larger one cannot be read
_MOST_PICTURES, _LARGEST_PICTURE = 25, 30_000  # bytes
_SIDE = 200  # of the picture of a calibration


def findings(run: RunRecord) -> str:
    """What evaluations of a run found beside metrics, the latest first, and validation; or what `test.py` would add."""
    tests = [*zip(titles(run.tests), run.tests, strict=True)]
    parts = [part for title, test in reversed(tests) for part in _of_test(run.folder, title, test)]
    validation = [*_of_set(run.folder, {**run.validation, "per_class": _per_class(run.validation)})]
    if validation:
        epoch = escape(str(run.validation.get("epoch")))
        parts += [f"<h3>Validation after epoch {epoch}</h3>", *validation]
    if not run.tests:
        place = escape("/".join(run.folder.absolute().parts[-4:]))
        parts.append(f"<p class=note>Intervals, confusion, classes, and the largest losses on the test data: "
                     f"<code>python test.py -r {place} --confusion --per-class --worst 25</code></p>")  # fmt: skip
    return "".join(parts)


def _per_class(validation: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Precision, recall, F1 and support from a confusion matrix; nothing from one of another form."""
    try:
        classes, counts = validation["confusion"]["classes"], validation["confusion"]["counts"]
        found = []
        for index, (name, row) in enumerate(zip(classes, counts, strict=True)):
            right, support, told = row[index], sum(row), sum(each[index] for each in counts)
            found.append({"class": name, "precision": _share(right, told), "recall": _share(right, support),
                          "f1": _share(2 * right, support + told), "support": support})  # fmt: skip
        return found
    except (KeyError, TypeError, ValueError, IndexError):
        return []


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _of_test(folder: Path, title: str, test: Mapping[str, Any]) -> Iterator[str]:
    sets = test.get("sets")
    for found in sets if isinstance(sets, list) else ():
        parts = [*_of_set(folder, found)] if isinstance(found, dict) else []
        if parts:
            name = f", {found['name']}" if found.get("name") else ""
            yield f"<h3>Test of {escape(title + name)}</h3>"
            yield from parts


def _of_set(folder: Path, found: Mapping[str, Any]) -> Iterator[str]:
    """The parts that are there; one of another form than ours is left out."""
    for name, draw in (("confusion", _confusion), ("per_class", _classes), ("calibration", _calibration)):
        try:
            if found.get(name):
                yield draw(found[name])
        except (KeyError, TypeError, ValueError, IndexError, AttributeError):
            continue
    try:
        yield from _worst(folder, found["worst"]["samples"])
    except (KeyError, TypeError, AttributeError):
        return


def _confusion(found: Mapping[str, Any]) -> str:
    """Counts, the darker the larger their share of the true class."""
    classes, counts = [str(each) for each in found["classes"]], found["counts"]
    if len(classes) > _MOST_CLASSES:
        return ""
    rows = []
    for name, row in zip(classes, counts, strict=True):
        shares = [0.85 * each / (sum(row) or 1) for each in row]
        cells = "".join(f'<td class=number style="background:rgba(0,114,178,{share:.2f})">{each or ""}</td>'
                        for each, share in zip(row, shares, strict=True))  # fmt: skip
        rows.append(f"<tr><th>{escape(name)}</th>{cells}</tr>")
    head = "".join(f"<th class=number>{escape(each)}</th>" for each in classes)
    return (f'<p class=note>Confusion: a row for each true class, a column for what was predicted</p><div class="wide">'
            f"<table><tr><th></th>{head}</tr>{''.join(rows)}</table></div>")  # fmt: skip


def _classes(found: list[Mapping[str, Any]]) -> str:
    names = ("precision", "recall", "f1", "support")
    rows = "".join(f"<tr><td>{escape(str(each['class']))}</td>"
                   + "".join(f"<td class=number>{number(each[name])}</td>" for name in names) + "</tr>"
                   for each in found)  # fmt: skip
    head = "<th>class</th>" + "".join(f"<th class=number>{name}</th>" for name in names)
    return f'<p class=note>Classes one by one</p><div class="wide"><table><tr>{head}</tr>{rows}</table></div>'


def _calibration(found: Mapping[str, Any]) -> str:
    """Accuracy over confidence in bins; on the diagonal a model is as often right as it says."""
    bins = [each for each in found["bins"] if each["count"]]
    most = max(each["count"] for each in bins)
    points = "".join(
        f'<circle cx="{_SIDE * each["confidence"]:.1f}" cy="{_SIDE * (1 - each["accuracy"]):.1f}" '
        f'r="{2 + 6 * (each["count"] / most) ** 0.5:.1f}" fill="#0072b2" fill-opacity="0.7">'
        f"<title>{each['count']} samples: confidence {each['confidence']:.3f}, accuracy {each['accuracy']:.3f}</title>"
        "</circle>"
        for each in bins
    )
    return (f"<p class=note>Calibration: accuracy (up) over confidence (right); expected error "
            f"{number(found['expected_error'])}</p>"
            f'<svg viewBox="-10 -10 {_SIDE + 20} {_SIDE + 20}" style="max-width:14rem;overflow:visible">'
            f'<rect width="{_SIDE}" height="{_SIDE}" fill="none" stroke="#8884"/>'
            f'<line x1="0" y1="{_SIDE}" x2="{_SIDE}" y2="0" stroke="#8888"/>{points}</svg>')  # fmt: skip


def _worst(folder: Path, samples: list[Mapping[str, Any]]) -> Iterator[str]:
    """The samples with the largest loss, as pictures where there are some, else as a table."""
    shown = samples[:_MOST_PICTURES]
    rows = [[str(each.get("name") or each["index"]), number(each["loss"]),
             *(_told(each, key) for key in ("target", "prediction")), str(each.get("text") or "")]
            for each in shown]  # fmt: skip
    pictures = [_picture(folder, each.get("picture")) for each in shown]
    if not rows:
        return
    yield "<p class=note>The largest losses</p>"
    if not any(pictures):
        size = 5 if any(row[-1] for row in rows) else 4
        table = Table(["sample", "loss", "target", "prediction", "text"][:size], [row[:size] for row in rows])
        yield wide(heads(table), ["".join(map(cell, row)) for row in table.rows])
        return
    captions = (f"{name}: loss {loss}" + (f", is {target}, taken for {said}" if target else "")
                for name, loss, target, said, _ in rows)  # fmt: skip
    figures = (f"<figure>{picture}<figcaption class=note>{escape(caption)}</figcaption></figure>"
               for picture, caption in zip(pictures, captions, strict=True))  # fmt: skip
    yield f'<div class="samples">{"".join(figures)}</div>'


def _told(sample: Mapping[str, Any], key: str) -> str:
    """A class by its name, numbers in short."""
    value = sample.get(f"{key}_class", sample.get(key))
    if value is None:
        return ""
    values = value if isinstance(value, list) else [value]
    return ", ".join(number(each) if isinstance(each, float) else str(each) for each in values)


def _picture(folder: Path, name: Any) -> str:
    """A picture inside the run folder as part of the page; nothing where there is none, or a large one."""
    if not isinstance(name, str) or Path(name).is_absolute() or ".." in Path(name).parts:
        return ""
    try:
        content = read_regular(folder / name, _LARGEST_PICTURE)
    except OSError:
        return ""
    if not content.startswith(b"\x89PNG"):
        return ""
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(content).decode()}">'
