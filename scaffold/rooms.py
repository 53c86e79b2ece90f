"""Laying an example into the rooms of a project, its names and paths as they are there."""

from __future__ import annotations

import re
from pathlib import Path

from scaffold.edits import rename_config, rewrite
from scaffold.examples import EXAMPLES, ROOM_OF, places_of
from scaffold.options import Options
from scaffold.version import TEMPLATE

MNIST = re.compile(r"\n\nclass MnistDataLoader\(.*|^MNIST_FILES = .*?\n|^from espalier\.data\.idx_file .*?\n",
                   re.DOTALL | re.MULTILINE)  # fmt: skip
STUDY = re.compile(r',\n *"arch\.args\.dropout": [^\n]*')


def lay_example(project: Path, options: Options) -> None:
    """Put the example of these options in the place of the template's digits."""
    assert options.example is not None
    name, example, folder = options.example, EXAMPLES[options.example], TEMPLATE / "examples" / options.example
    for file in set(ROOM_OF.values()) - {"config.json", "data_loader/make_data.py", "tests/test_model.py"}:
        rewrite(project / file, _as_it_was if file in example.keeps else _head_of, "")
    for file, place in places_of(name).items():
        data = (folder / file).read_bytes()
        if not file.endswith(".csv"):
            data = _laid(data.decode(), file, project / place if place in example.keeps else None, options).encode()
        (project / place).parent.mkdir(parents=True, exist_ok=True)
        (project / place).write_bytes(data)
    if example.trainer:
        _offer_trainer(project / "trainer/__init__.py", example.trainer, places_of(name)["trainer.py"])


def study_of(text: str, _: str) -> str:
    """The config of a study, without what the template's own network alone has."""
    return STUDY.sub("", text)


def section_of_readme(options: Options) -> str:
    """What an example says of itself, a section lower, with the commands of the project."""
    assert options.example is not None
    text = (TEMPLATE / "examples" / options.example / "README.md").read_text(encoding="utf-8")
    text = in_project(text, options)
    if " " in options.name:
        text = re.sub(rf"saved/models/{re.escape(options.name)}/\S*", r'"\g<0>"', text)
    others = "|".join(_stem(file) for file in places_of(options.example) if file.endswith(".json"))
    text = re.sub(rf"(?<![\w/.])({others})\.json", lambda found: _config(found[1]), text)
    text = re.sub(r"^( *(?:python|tensorboard) .*?\S) {2,}# ", r"\1    # ", text, flags=re.MULTILINE)
    return re.sub(r"^#", "##", text, flags=re.MULTILINE)


def in_project(text: str, options: Options) -> str:
    """The commands, names and paths of an example as they are in the project."""
    assert options.example is not None
    name, places = options.example, places_of(options.example)
    modules = {_stem(file): place for file, place in places.items() if file.endswith(".py")}
    for stem, place in modules.items():
        dotted = rf"examples\.{name}\.{stem}\b"
        module = place.removesuffix(".py").replace("/", ".")
        text = re.sub(rf"python -m {dotted}", f"python {place}" if "/" not in place else f"python -m {module}", text)
        text = re.sub(rf"(from|import) {dotted}", rf"\1 {module}", text)
        text = re.sub(rf"{dotted}\.(?=[A-Za-z_])", "", text)
    for file, place in places.items():
        text = text.replace(f"examples/{name}/{file}", place)
    return text.replace(f"saved/models/{_run_name(name)}/", f"saved/models/{options.name}/")


def _laid(text: str, file: str, kept: Path | None, options: Options) -> str:
    """A file of the example as it is in the project."""
    text = in_project(text, options)
    if file == "config.json":
        text = re.sub(r'("extends": )"(\w+)\.json"', r'\1"configs/\2.json"', text)
        return rename_config(text, options.name)
    if file.endswith(".json"):
        text = text.replace('"extends": "config.json"', '"extends": "../config.json"')
        return rename_config(text, f"{options.name}_{_stem(file)}")
    text = re.sub(
        r"(?:^from [^\n]*\n)+", lambda found: "".join(sorted(found[0].splitlines(keepends=True))), text, flags=re.M
    )
    return _below(kept.read_text(encoding="utf-8"), text) if kept else text


def _below(stock: str, text: str) -> str:
    """Two modules as one: the head of the first, the imports of both, of torch first, and what they define."""
    begin = re.compile(r'^("""(?:.*?)"""\n)\n((?:(?:import|from) [^\n]*\n|\n)*)', re.DOTALL)
    first, second = begin.match(stock), begin.match(text)
    assert first and second
    imports = f"{second[2].strip()}\n\n{first[2].strip()}"
    return f"{first[1]}\n{imports}\n\n\n{stock[first.end() :].strip()}\n\n\n{text[second.end() :].strip()}\n"


def _head_of(text: str, name: str) -> str:
    """The docstring of a module alone."""
    end = text.index('"""', 3) + 3 if text.startswith('"""') else 0
    return f"{text[:end]}\n" if end else ""


def _as_it_was(text: str, name: str) -> str:
    """What a project keeps of a room: all but what is about MNIST, which no example uses."""
    return MNIST.sub("", text).rstrip("\n") + "\n"


def _offer_trainer(path: Path, trainer: str, place: str) -> None:
    """Let `trainer.type` name it."""
    lines = [f"from {place.removesuffix('.py').replace('/', '.')} import {trainer}", *path.read_text().splitlines()[:1]]
    names = ", ".join(f'"{name}"' for name in sorted((trainer, "Trainer")))
    path.write_text("\n".join((*sorted(lines), "", f"__all__ = [{names}]", "")), encoding="utf-8")


def _run_name(example: str) -> str:
    text = (TEMPLATE / "examples" / example / "config.json").read_text(encoding="utf-8")
    found = re.search(r'^ *"name": "(\w+)"', text, re.MULTILINE)
    return found[1] if found else example


def _stem(file: str) -> str:
    return file.rpartition(".")[0]


def _config(stem: str) -> str:
    return "config.json" if stem == "config" else f"configs/{stem}.json"
