"""What is written differently in a project: its name, and what concerns Espalier alone, or an example."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path

_JSON_TOKEN = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:[^"\\\n]|\\.)*"(\s*:)?|[][{}]', re.DOTALL)
_MARKED = r"^ *(<!--|#) {0}.*?^ *\1 /{0}[^\n]*\n?(\r?\n)*"
_MARK = r"^ *(?:<!--|#) /?{0}[^\n]*\n"


def rename_config(text: str, name: str) -> str:
    """Set the "name" of the config itself, not one of a section inside it; comments and layout stay."""
    depth, is_name = 0, False
    for token in _JSON_TOKEN.finditer(text):
        word, is_key = token.group(), token.group(1) is not None
        if is_name and word[0] == '"' and not is_key:
            return text[: token.start()] + json.dumps(name, ensure_ascii=False) + text[token.end() :]
        depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(word, 0)
        if word[0] != "/":
            is_name = depth == 1 and is_key and word.startswith('"name"')
    return text


def package_of(name: str) -> str:
    """What pip calls the project."""
    plain = unicodedata.normalize("NFKD", name.casefold()).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-") or "project"  # as PEP 508 and PEP 503 ask


def rename_pyproject(text: str, name: str) -> str:
    """Make the package the project's own, extras that refer to it too; its style is not asked of `espalier/`."""
    package = package_of(name)
    text = drop_marked(text, name).replace("extend-exclude = [\n", 'extend-exclude = [\n    "espalier",\n')
    if old := re.search(r'^name\s*=\s*"([^"]*)"', text, re.MULTILINE):
        text = text.replace(f'"{old[1]}[', f'"{package}[')
    for key, value in {"name": package, "version": "0.1.0", "description": f"{name}, made from Espalier"}.items():
        text = re.sub(rf'^{key}\s*=\s*"[^"]*"', f'{key} = "{value}"', text, count=1, flags=re.MULTILINE)
    return text


def need(text: str, packages: Sequence[str]) -> str:
    """Add to the dependencies of pyproject.toml."""
    lines = "".join(f'    "{package}",\n' for package in packages)
    return re.sub(r"^dependencies = \[\n(?:    .*\n)*", lambda found: found[0] + lines, text, flags=re.MULTILINE)


def drop_extras(text: str, extras: Sequence[str]) -> str:
    """Take extras out of pyproject.toml."""
    return re.sub(rf"^(?:{'|'.join(extras)}) = \[[^\]]*\]\n", "", text, flags=re.MULTILINE)


def make_data_first(text: str, made: str, commands: Sequence[str]) -> str:
    """Let `make train` and `make test` make the data, where it is not there."""
    text = re.sub(r"^((?:train|test):.*?)(  ##)", rf"\1 {made}\2", text, flags=re.MULTILINE)
    lines = "".join(f"\t$(BIN)/{command}\n" for command in commands)
    return (
        f"{text.rstrip()}\n\n.PHONY: data\n\ndata: {made}  ## make the data that config.json trains on\n\n"
        f"{made}: | $(VENV)/.installed\n{lines}"
    )


def keep_data(text: str, data: Path) -> str:
    """Let git see the data that came with an example, and no other."""
    kept = [f"!/data/{path.name}{'/' if path.is_dir() else ''}\n" for path in sorted(data.glob("*"))]
    return text.replace("!/data/digits/\n", "".join(kept))


def drop_marked(text: str, name: str) -> str:
    """Drop what is between the marks `espalier only`, in Markdown or where comments begin with #."""
    return drop_between("espalier only", text)


def drop_between(mark: str, text: str) -> str:
    """Drop what is between marks of this kind."""
    return re.sub(_MARKED.format(mark), "", text, flags=re.DOTALL | re.MULTILINE)


def drop_marks(mark: str, text: str) -> str:
    """Drop the marks, and keep what is between them."""
    return re.sub(_MARK.format(mark), "", text, flags=re.MULTILINE)


def rewrite(path: Path, edit: Callable[[str, str], str], name: str) -> None:
    """Edit a text file of the project; what is not there, or is reached through a link, stays as it is."""
    if path.is_file() and path.resolve() == path:
        text = path.read_bytes().decode("utf-8", "surrogateescape")  # bytes: line ends stay what they are
        path.write_bytes(edit(text, name).encode("utf-8", "surrogateescape"))
