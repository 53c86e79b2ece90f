"""What is written differently in a project: its name, and what concerns Espalier alone."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path

from scaffold.version import version_of_template

ABOUT = """# {name}

Made from Espalier {version}, which is the folder `espalier/`. That is not edited here, and replaced as a whole;
`cd espalier && sha256sum --quiet --check MANIFEST` names each file that is not as it came."""

_JSON_TOKEN = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:[^"\\\n]|\\.)*"(\s*:)?|[][{}]', re.DOTALL)
_ESPALIER_ONLY = re.compile(
    r"^ *(<!--|#) espalier only.*?^ *\1 /espalier only[^\n]*\n?(\r?\n)*", re.DOTALL | re.MULTILINE
)


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


def rename_pyproject(text: str, name: str) -> str:
    """Make the package the project's own, extras that refer to it too; its style is not asked of `espalier/`."""
    plain = unicodedata.normalize("NFKD", name.casefold()).encode("ascii", "ignore").decode()
    package = re.sub(r"[^a-z0-9]+", "-", plain).strip("-") or "project"  # as PEP 508 and PEP 503 ask
    text = drop_marked(text, name).replace("extend-exclude = [\n", 'extend-exclude = [\n    "espalier",\n')
    if old := re.search(r'^name\s*=\s*"([^"]*)"', text, re.MULTILINE):
        text = text.replace(f'"{old[1]}[', f'"{package}[')
    for key, value in {"name": package, "version": "0.1.0", "description": f"{name}, made from Espalier"}.items():
        text = re.sub(rf'^{key}\s*=\s*"[^"]*"', f'{key} = "{value}"', text, count=1, flags=re.MULTILINE)
    return text


def rename_readme(text: str, name: str) -> str:
    """Put the project's name at the head, and what it was made from."""
    about = ABOUT.format(name=name, version=version_of_template())
    return re.sub(r"^# [^\r\n]*", lambda _: about, drop_marked(text, name), count=1, flags=re.MULTILINE)


def drop_marked(text: str, name: str) -> str:
    """Drop what is between the marks `espalier only`, in Markdown or where comments begin with #."""
    return _ESPALIER_ONLY.sub("", text)


def rewrite(path: Path, edit: Callable[[str, str], str], name: str) -> None:
    """Edit a text file of the project; what is not there, or is reached through a link, stays as it is."""
    if path.is_file() and path.resolve() == path:
        text = path.read_bytes().decode("utf-8", "surrogateescape")  # bytes: line ends stay what they are
        path.write_bytes(edit(text, name).encode("utf-8", "surrogateescape"))
