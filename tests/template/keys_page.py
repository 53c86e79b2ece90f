"""The page of all keys of a config, docs/reference/keys.md, from the tables that the check and `--help KEY` read.

`python -m tests.template.keys_page` writes it anew.
"""

from pathlib import Path

from espalier.config.help_keys import TABLES, rule_of
from espalier.config.key import Key
from espalier.config.meanings import meaning_of

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "keys.md"
HEAD = """# Every key of the config

For each key: what it is for, what may stand there, what holds without it, and an example. The same is told by
`python train.py --help trainer.precision`, for any key; [config.md](../config.md) shows by example how keys work
together. This page is made from the tables that a config is checked against.

A section with `type` and `args` becomes `type(**args)`: which arguments there are is for that class to say
(`python train.py --help optimizer`), and [data.md](../data.md) has those of loaders and datasets.
"""


def cell(text: str) -> str:
    """A text as it can stand in a table."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def row(section: tuple[str, ...], name: str, key: Key) -> str:
    """A key as a line of its table."""
    meaning = meaning_of(section, name)
    return f"| `{name}` | {cell(meaning.text)} | {cell(rule_of(key))} | `{meaning.example}` |"


def page() -> str:
    """The page; sections whose keys are the same, with the same words, share a table."""
    tables: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for section, keys in TABLES.items():
        tables.setdefault(tuple(row(section, *each) for each in keys.items()), []).append(section)
    parts = [HEAD]
    for rows, sections in tables.items():
        title = ", ".join(f"`{'.'.join(section)}`" for section in sections if section) or "The file"
        head = "| key | what for | value | example |\n|---|---|---|---|"
        parts.append("\n".join((f"## {title}\n", head, *rows)) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
