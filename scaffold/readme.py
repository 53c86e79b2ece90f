"""The words of a project's README that depend on what its owner asked for."""

from __future__ import annotations

from scaffold.edits import package_of
from scaffold.examples import EXAMPLES, Example, places_of
from scaffold.licence import NONE
from scaffold.options import Options
from scaffold.rooms import section_of_readme
from scaffold.version import version_of_template

DIGITS = """## The digits

What it starts with is yours to replace: a small network that reads handwritten digits, 1,797 images in `data/digits`,
from the UCI Machine Learning Repository, CC BY 4.0."""


def words_of(options: Options) -> dict[str, str]:
    """What stands for each `{word}` in the files of `scaffold/files`."""
    name, example = options.name, EXAMPLES[options.example] if options.example else Example()
    makes = "makes the data, " if example.made else ""
    run = f"saved/models/{name}/RUN"
    return {
        "name": name,
        "package": package_of(name),
        "version": version_of_template(),
        "run": f'"{run}"' if " " in name else run,
        "make_train": f"makes .venv, installs, {makes}trains config.json",
        "data_first": "".join(f"python {command} && " for command in data_commands(options)),
        "about": section_of_readme(options).strip() if options.example else DIGITS,
        "licence": _licence_sentence(options.licence),
    }


def data_commands(options: Options) -> list[str]:
    """What makes the data of an example, as arguments of python."""
    if options.example is None or not EXAMPLES[options.example].made:
        return []
    places = places_of(options.example)
    chosen = [places[script] for script in EXAMPLES[options.example].scripts]
    return [f"-m {place[:-3].replace('/', '.')}" if "/" in place else place for place in chosen]


def _licence_sentence(licence: str) -> str:
    if licence == NONE:
        return "What is written here has no licence: all rights are its authors'."
    return f"{licence}, see [LICENSE](LICENSE)."
