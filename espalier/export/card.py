"""The model card of a bundle: a README in Markdown that fills itself, with what is known and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from espalier.errors import counted
from espalier.export.plain import plain_lines

_TASKS = {"classes": "classification", "labels": "labelling", "numbers": "regression"}
_MOST_CLASSES = 200  # that are listed


def card_of(about: Mapping[str, Any], config: Mapping[str, Any], figures: Mapping[str, Any]) -> str:
    """The text.

    Args:
        about: what `bundle.json` says.
        config: of the run, as the bundle has it.
        figures: what `metrics.json` says.
    """
    parts = (_about, _use, _figures, _limits, _classes, _training, _checked, _versions)
    sections = ("\n".join(part(about, config, figures)) for part in parts)
    return f"# {cell(about['name'])}\n\n" + "\n\n".join(filter(None, sections)) + "\n"


def cell(value: Any) -> str:
    """A value as one line that Markdown takes for nothing else."""
    text = " ".join(str(value).split())
    for mark in "\\`|<>[]*_#":
        text = text.replace(mark, f"\\{mark}")
    return text


def code(value: Any) -> str | None:
    """A text of a config, as code; None for what is no text."""
    return f"`{' '.join(value.replace('`', '').split())}`" if isinstance(value, str) else None


def number(value: Any) -> str:
    """A number as it is shown."""
    return f"{value:.4g}" if isinstance(value, float) else "-" if value is None else f"{value:,}"


def _about(about: Mapping[str, Any], config: Mapping[str, Any], figures: Mapping[str, Any]) -> Iterator[str]:
    meaning = about["meaning"]
    names, kind = meaning["names"], meaning["kind"]
    what = {"classes": f"one of {counted(len(names), 'class')}" if names else "a class",
            "labels": f"any of {counted(len(names), 'label')}" if names else "labels",
            "numbers": "numbers, in units of the data", "outputs": "the output of the network"}[kind]  # fmt: skip
    task, each = ("segmentation", " for each pixel") if _is_segmentation(about) else (_TASKS.get(kind), "")
    yield f"{f'For {task}: it' if task else 'It'} takes {about['takes']}, and gives {what}{each}."
    yield ""
    yield f"- Network: {_kind(config.get('arch'))}, {counted(about['num_parameters'], 'weight')}"
    for form, name in about["files"].items():
        yield f"- `{name}`: {form}"
    yield f"- Licence: {cell(about['licence'] or 'not stated: ask whoever made it before you use it')}"


def _use(about: Mapping[str, Any], config: Mapping[str, Any], figures: Mapping[str, Any]) -> Iterator[str]:
    yield "## How to use it\n"
    yield "With Espalier, from any folder, with the same preprocessing as when it was evaluated:\n"
    yield "```python\nfrom espalier.inference.bundle import load_bundle\n"
    yield 'model = load_bundle("path/of/this/bundle")\nfor each in model.predict(inputs):'
    is_label = about["meaning"]["kind"] in ("classes", "labels") and not about["is_of_pixels"]
    yield f"    print({'each.label' if is_label else 'each.value'})\n```\n"
    lines, reason = plain_lines(about)
    if not lines:
        yield f"Without Espalier there is no short way: {reason}."
        return
    more = any("PIL" in line for line in lines)
    needed = "NumPy, onnxruntime and Pillow" if more else "NumPy and onnxruntime"
    yield f"Without it, with {needed} alone, in the folder of the bundle (`python use.py INPUT`):\n"
    yield "```python\n" + "\n".join(lines) + "\n```"
    if more:
        yield "\nPillow scales a little otherwise than Espalier: where measured, up to 2 % of the values of an image"
        yield "differed, by 1 or 2 of 255."


def _figures(about: Mapping[str, Any], config: Mapping[str, Any], figures: Mapping[str, Any]) -> Iterator[str]:
    tests, validation = figures.get("tests") or [], figures.get("validation") or {}
    yield "## How well it does\n"
    if not tests and not validation:
        yield "Nothing is known: it was not evaluated where this was made."
    for test in tests:
        yield from _tested(test)
    if validation:
        values = ", ".join(f"{cell(name)} {number(each)}" for name, each in validation.items())
        yield f"On the validation data: {values}. Where these chose epoch {figures['epoch']}, they flatter."
    for part, data in (figures.get("data") or {}).items():
        samples = counted(data["num_samples"], "sample")
        yield f"\nThe {part} data, {samples}, has the SHA-256 `{data['sha256']}`: of {data['of']}."


def _tested(test: Mapping[str, Any]) -> Iterator[str]:
    """An evaluation on test data, as a table."""
    first, views = test.get("limit_valid_batches"), test.get("tta")
    told = [
        code(test.get("section")),
        f"the first {counted(first, 'batch')} alone" if isinstance(first, int) else None,
        f"the mean of several views ({cell(', '.join(map(str, views)))})" if views else None,
        "with the average of the weights" if test.get("weights") == "average" else None,
    ]
    number_of = test.get("num_samples")
    samples = counted(number_of, "sample") if isinstance(number_of, int) else "samples"
    yield f"On {samples} of test data ({', '.join(filter(None, told))}):\n"
    yield "| metric | value | 95 % interval |\n|---|---|---|"
    intervals = test.get("intervals") or {}
    for name, value in (test.get("metrics") or {}).items():
        between = "{:.4g} to {:.4g}".format(*intervals[name]) if name in intervals else "-"
        yield f"| {cell(name)} | {number(value)} | {between} |"
    yield ""


def _limits(about: Mapping[str, Any], config: Mapping[str, Any], figures: Mapping[str, Any]) -> Iterator[str]:
    yield "## Limits\n"
    tests = figures.get("tests") or []
    if not tests:
        yield "- No test data was evaluated: the figures above, where there are any, are of data that chose the model."
    least = min((test.get("num_samples") or 0 for test in tests), default=0)
    if 0 < least < 1000:
        yield f"- The test data has only {counted(least, 'sample')}: see the intervals."
    yield "- What it does with data unlike that of training was not measured, and it does not tell that it is unlike."
    if about["meaning"]["kind"] == "classes":
        what = "pixel" if _is_segmentation(about) else "input"
        yield f"- It names one of its classes for every {what}, also for one that shows none of them."
    yield "- For what it is meant, and for what not, nobody has written down; add it here."


def _classes(about: Mapping[str, Any], config: Mapping[str, Any], figures: Mapping[str, Any]) -> Iterator[str]:
    names = about["meaning"]["names"]
    if names:
        yield "## Classes\n"
        more = f" and {len(names) - _MOST_CLASSES:,} more, see bundle.json" if len(names) > _MOST_CLASSES else ""
        yield ", ".join(f"{place} {cell(name)}" for place, name in enumerate(names[:_MOST_CLASSES])) + more


def _training(about: Mapping[str, Any], config: Mapping[str, Any], figures: Mapping[str, Any]) -> Iterator[str]:
    yield "## How it was trained\n"
    training = figures.get("training") or {}
    rows = {
        "data": _kind(config.get("data_loader")),
        "samples at once": _argument(config.get("data_loader"), "batch_size"),
        "loss": _kind(config.get("loss")),
        "optimizer": _kind(config.get("optimizer")),
        "learning rate": _argument(config.get("optimizer"), "lr"),
        "schedule": _kind(config.get("lr_scheduler")),
        "precision": code(_argument({"args": config.get("trainer")}, "precision")),
        "seed": training.get("seed"),
        "epochs": training.get("epochs"),
        "steps": training.get("steps"),
        "seconds": training.get("seconds"),
        "on": cell(training["device"]) if training.get("device") else None,
    }
    yield from (f"- {name}: {number(value) if isinstance(value, (int, float)) else value}"
                for name, value in rows.items() if value is not None)  # fmt: skip
    yield "\nAll of it is in `config.json`, without paths and secrets."


def _checked(about: Mapping[str, Any], config: Mapping[str, Any], figures: Mapping[str, Any]) -> Iterator[str]:
    exported = figures.get("exported") or {}
    if not exported:
        return
    yield "## How it was checked\n"
    yield "Each file was run beside the model in PyTorch, on real data, before it was put here:\n"
    yield "| file | bytes | samples | largest difference | relative | ms at once: file, PyTorch |"
    yield "|---|---|---|---|---|---|"
    for form, each in exported.items():
        found = each.get("comparison") or {}
        values = [number(found.get(name)) for name in ("num_samples", "largest_absolute", "largest_relative")]
        times = [f"{size}: {1e3 * both['exported']:.3g}, {1e3 * both['eager']:.3g}"
                 for size, both in (each.get("latency_s") or {}).items()]  # fmt: skip
        yield f"| {' | '.join([about['files'][form], number(each['num_bytes']), *values, '; '.join(times) or '-'])} |"
    for form, each in exported.items():
        found = each.get("comparison") or {}
        own, given = found.get("metrics") or {}, found.get("metrics_exported") or {}
        both = [f"{cell(name)} {number(value)} and {number(own.get(name))}" for name, value in given.items()]
        if both:
            yield f"\nOf {about['files'][form]} and of PyTorch on these samples: {', '.join(both)}."
    for form, each in exported.items():
        if each.get("way"):
            yield "\n" + " ".join(_in_8_bits(about["files"][form], each))
    yield f"\nTimes are of {cell(about['device'])}, {counted(about['threads'], 'thread')}."


def _in_8_bits(name: str, each: Mapping[str, Any]) -> Iterator[str]:
    """What became of a model whose numbers have 8 bits."""
    yield f"{name} computes in 8 bits ({cell(each['way'])} quantisation);"
    yield f"in 32 bits it has {each['num_bytes_float']:,} bytes."
    if each.get("num_calibration"):
        yield f"Ranges were taken from {counted(each['num_calibration'], 'sample')} of the training data."
    if worse := each.get("worse"):
        yield f"{cell(worse['name'])}: {number(worse['before'])} before, {number(worse['after'])} after."


def _versions(about: Mapping[str, Any], config: Mapping[str, Any], figures: Mapping[str, Any]) -> Iterator[str]:
    yield "## Versions\n"
    yield "Made with " + ", ".join(f"{cell(name)} {cell(each)}" for name, each in about["versions"].items()) + "."
    yield "`sha256sum -c SHA256SUMS` tells whether the files beside this one are as they were made."


def _is_segmentation(about: Mapping[str, Any]) -> bool:
    """Whether it names a class for each pixel."""
    is_of_images = any(len(each["dims"]) == 4 for each in about["inputs"].values())
    return is_of_images and about["is_of_pixels"] and about["meaning"]["kind"] == "classes"


def _kind(section: Any) -> str | None:
    """What a section of a config names."""
    if isinstance(section, Mapping) and "type" not in section:
        return ", ".join(filter(None, map(_kind, section.values()))) or None
    if isinstance(section, list):
        return ", ".join(filter(None, map(_kind, section))) or None
    kind = section.get("type") if isinstance(section, Mapping) else section
    return code(kind) if isinstance(kind, str) else None


def _argument(section: Any, name: str) -> Any:
    arguments = section.get("args") if isinstance(section, Mapping) else None
    return arguments.get(name) if isinstance(arguments, Mapping) else None
