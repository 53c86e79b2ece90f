"""The lines of a bundle's README that run it with onnxruntime and NumPy alone, made for what it takes and gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MOST_LINES = 15
_PAD = {"type": "espalier.data.collate.Pad", "args": {"lengths": True}}
_HEAD = """
import IMPORTS
import numpy as np, onnxruntime
about = json.load(open("bundle.json", encoding="utf-8"))
session = onnxruntime.InferenceSession("model.onnx")
"""
_RUN = 'outputs = dict(zip(about["outputs"], session.run(None, inputs)))\n'
_ENDS = {
    "classes": """
for shares in outputs["probabilities"]:
    print(LABEL, shares.max())
""",
    "labels": """
for shares in outputs["probabilities"]:
    print([NAMED for place in np.flatnonzero(shares >= 0.5)])
""",
    "numbers": """
for values in outputs["prediction"]:
    print(values.tolist())
""",
    "pixels": """
print(outputs["probabilities"].argmax(axis=1))
""",
    "outputs": """
for name, values in outputs.items():
    print(name, values.tolist())
""",
}
_ARRAY = """
samples = np.load(sys.argv[1])  # an array of samples: SHAPE
inputs = {NAME: samples.astype(DTYPE)}
"""
_SEVERAL = """
samples = np.load(sys.argv[1])  # an .npz file with the arrays NAMES
inputs = {name: samples[name].astype(each["dtype"]) for name, each in about["inputs"].items()}
"""


def plain_lines(about: Mapping[str, Any]) -> tuple[list[str], str]:
    """The lines, or none and why.

    Args:
        about: what `bundle.json` says.
    """
    if "onnx" not in about["files"]:
        return [], "it has no ONNX file"
    if about["arguments"].get("transform") is not None:
        return [], "its inputs pass a transform of the config (`arguments.transform` in bundle.json) first"
    state = about["preprocessing"]
    make = _KINDS.get(state["kind"], _arrays)
    if about["arguments"].get("collate_fn", _PAD) != _PAD and state["kind"] != "tensor":
        return [], "its inputs are brought together in a way of their own (`arguments.collate_fn` in bundle.json)"
    text, reason = make(state, about)
    if not text:
        return [], reason
    imports = [name for name in ("csv", "json", "re", "sys", "unicodedata") if f"{name}." in _HEAD + text]
    pictures = "from PIL import Image, ImageOps\n" if "Image." in text else ""
    whole = _HEAD.replace("IMPORTS", ", ".join(imports)).replace("about =", f"{pictures}about =") + text + _end(about)
    lines = [line for line in whole.split("\n") if line]
    return (lines, "") if len(lines) <= MOST_LINES else ([], "its inputs are prepared in more than a few lines")


def _end(about: Mapping[str, Any]) -> str:
    meaning, kind = about["meaning"], about["meaning"]["kind"]
    has_all = "probabilities" in about["outputs"] or "prediction" in about["outputs"]
    if not has_all:
        kind = "outputs"
    elif about["is_of_pixels"] and kind != "numbers":
        kind = "pixels"
    names = 'about["meaning"]["names"]'
    label = f"{names}[shares.argmax()]" if meaning["names"] else "shares.argmax()"
    named = f"{names}[place]" if meaning["names"] else "int(place)"
    return _RUN + _ENDS[kind].replace("LABEL", label).replace("NAMED", named)


def _arrays(state: Mapping[str, Any], about: Mapping[str, Any]) -> tuple[str, str]:
    """Arrays of samples, prepared as the graph takes them."""
    if state["kind"] not in ("tensor", "array") or (state["kind"] == "array" and _has_more_to_do(state, about)):
        return "", f"its inputs are prepared by code of its project ({state['kind']})"
    inputs = about["inputs"]
    if len(inputs) > 1:
        return _SEVERAL.replace("NAMES", ", ".join(inputs)), ""
    ((name, each),) = inputs.items()
    shape = " x ".join(map(str, each["dims"]))
    return _ARRAY.replace("SHAPE", shape).replace("NAME", repr(name)).replace("DTYPE", repr(each["dtype"])), ""


def _has_more_to_do(state: Mapping[str, Any], about: Mapping[str, Any]) -> bool:
    """Whether arrays are scaled, and the graph does not do it."""
    return bool(state.get("is_ahead")) or (state.get("mean") is not None and not about["has_preprocessing"]["onnx"])


def _is_outside(about: Mapping[str, Any]) -> bool:
    """Whether the arithmetic of the preprocessing is not in the graph."""
    return not about["has_preprocessing"]["onnx"]


_IMAGE = """
image = ImageOps.exif_transpose(Image.open(sys.argv[1])).convert(MODE)
RESIZE
pixels = np.asarray(image).reshape(image.height, image.width, CHANNELS)
inputs = {NAME: pixels.transpose(2, 0, 1)[None]}
"""
_TO_SIDE = """
image = image.resize([int(SIDE * each / min(image.size)) for each in image.size], Image.Resampling.BILINEAR)
left, top = (round((each - SIDE) / 2) for each in image.size)
image = image.crop((left, top, left + SIDE, top + SIDE))
"""


def _image(state: Mapping[str, Any], about: Mapping[str, Any]) -> tuple[str, str]:
    """An image file, as `espalier.datasets.decode` brings it to size: by the same filter, in Pillow."""
    if _is_outside(about) or len(about["inputs"]) != 1:
        return "", "the arithmetic of its preprocessing is not in the graph"
    size, channels = state.get("size"), state.get("channels", 3)
    if isinstance(size, int):
        resize = _TO_SIDE.replace("SIDE", str(size))
    elif size:
        resize = f"image = image.resize(({size[1]}, {size[0]}), Image.Resampling.BILINEAR)"
    else:
        resize = ""
    text = _IMAGE.replace("RESIZE", resize.strip()).replace("MODE", repr("RGB" if channels == 3 else "L"))
    return text.replace("CHANNELS", str(channels)).replace("NAME", repr(next(iter(about["inputs"])))), ""


_ROWS = """
rows = [*csv.DictReader(open(sys.argv[1], encoding="utf-8", newline=""))]  # a CSV with the columns of training
columns = about["preprocessing"]["columns"]
"""
_NUMBERS = """
numbered = [each["name"] for each in columns if "categories" not in each]
numbers = [[float(row[name] or "nan") for name in numbered] for row in rows]
"""
_DATES = """
day = lambda text: (np.datetime64(text, "us") - np.datetime64(0, "us")) / np.timedelta64(1, "D")
numbered = [(each["name"], day if each["kind"] == "date" else float) for each in columns if "categories" not in each]
numbers = [[read(row[name]) if row[name] else np.nan for name, read in numbered] for row in rows]
"""
_CATEGORIES = """
named = [(each["name"], dict(zip(each["categories"], range(1, 10**9)))) for each in columns if "categories" in each]
codes = [[known.get(row[name], bool(row[name]) - 1) for name, known in named] for row in rows]
"""


def _row(state: Mapping[str, Any], about: Mapping[str, Any]) -> tuple[str, str]:
    """A CSV: numbers, NaN where there is none; categories by number from 1, 0 for others, -1 for none."""
    if _is_outside(about):
        return "", "the arithmetic of its preprocessing is not in the graph"
    kinds = {each["kind"] for each in state["columns"] if "categories" not in each}
    if state["read"] or any(each.startswith("date:") for each in kinds):
        return "", "its tables are read in a way of their own (`preprocessing.read`, or the form of dates)"
    text, parts = _ROWS, []
    if "numbers" in about["inputs"]:
        text += _DATES if "date" in kinds else _NUMBERS
        parts.append('"numbers": np.array(numbers)')
    if "categories" in about["inputs"]:
        text += _CATEGORIES
        parts.append('"categories": np.array(codes, dtype="int64")')
    return f"{text}inputs = {{{', '.join(parts)}}}\n", ""


_TEXTS = """
state = about["preprocessing"]
number = {token: place for place, token in enumerate(state["vocabulary"], 2)}  # 1 stands for all others
texts = open(sys.argv[1], encoding="utf-8").read().splitlines()  # a text on each line
tokens = [TOKENS[:state["max_length"]] for text in texts]
ids = [[number.get(token, 1) for token in each] or [1] for each in tokens]
lengths = np.array([len(each) for each in ids])
values = np.array([each + [0] * (max(lengths) - len(each)) for each in ids])
inputs = {INPUTS}
"""
_TOKENS = {
    "words": 're.findall(state["pattern"], unicodedata.normalize("NFC", text.lower()))',
    "characters": "list(text)",
}
_PADDED = {"values": "values", "lengths": "lengths", "mask": "np.arange(max(lengths)) < lengths[:, None]"}


def _text(state: Mapping[str, Any], about: Mapping[str, Any]) -> tuple[str, str]:
    """A text a line: tokens, their numbers, and zeros behind the shorter ones."""
    tokens = _TOKENS.get(state["tokenizer"] or "")
    if tokens is None or (state["tokenizer"] == "words" and "pattern" not in state):
        return "", "its texts are taken apart by a function of its project"
    given = dict.fromkeys(about["inputs"], "values") if len(about["inputs"]) == 1 else _PADDED
    if not about["inputs"].keys() <= given.keys():
        return "", "its network takes other tensors than padded texts"
    parts = ", ".join(f'"{name}": {given[name]}' for name in about["inputs"])
    return _TEXTS.replace("TOKENS", tokens).replace("INPUTS", parts), ""


_WINDOWS = """
samples = np.load(sys.argv[1])  # an array of series: batch x ROWS x COLUMNS, in units of the file
inputs = {NAME: SAMPLES}
"""


def _window(state: Mapping[str, Any], about: Mapping[str, Any]) -> tuple[str, str]:
    """Arrays of rows, the last of which count."""
    if len(about["inputs"]) != 1:
        return "", "its network takes several tensors"
    ((name, each),) = about["inputs"].items()
    columns, rows = ", ".join(map(str, state["columns"])), state["history"]
    text = _WINDOWS.replace("ROWS", str(rows)).replace("COLUMNS", f"({columns})").replace("NAME", repr(name))
    scaled = f'samples.astype("{each["dtype"]}")'
    if _is_outside(about):
        text = 'state = about["preprocessing"]\n' + text
        scaled = f'((samples - state["mean"]) / state["std"]).astype("{each["dtype"]}")'
    return text.replace("SAMPLES", scaled), ""


_KINDS = {"image": _image, "row": _row, "text": _text, "window": _window}
