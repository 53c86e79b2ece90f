"""Parse the text of a config: JSON with comments and trailing commas, and for every value its file and line."""

from __future__ import annotations

import json
import math
import re
from bisect import bisect_right
from typing import Any

from espalier.config.tree import ConfigTree, KeyPath
from espalier.errors import ConfigError, Problem

_DEEPEST = 200  # levels of sections and lists
_SPACE = re.compile(r"(?:[ \t\r\n]+|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
_DRIVE = re.compile(r'"[A-Za-z]:\\(?!u[0-9A-Fa-f]{4})[^\\/]')  # "C:\new" would be a line break and "ew"
_BACKSLASH = 'write a backslash twice, or a path with slashes, which Windows takes too: "C:/data"'
_WORD = re.compile(r"[-+.\w]+")


def parse_json(text: str, file: str) -> ConfigTree:
    """Parse one JSON object; `//` and `/* */` comments and trailing commas are allowed, repeated keys are not.

    Raises:
        ConfigError: naming `file`, line and column, and showing the line.
    """
    try:
        return _Parser(text, file).parse()
    except RecursionError:
        raise ConfigError(Problem(file, "is not a config: its brackets are nested too deeply")) from None


def no_constant(word: str) -> Any:
    """For `json.loads`: NaN and Infinity are no JSON.

    Raises:
        ValueError: always.
    """
    raise ValueError(f"{word} is no JSON")


class _Parser:
    """Recursive descent over JSON text, one method a construct; `pos` is the index of the next character."""

    def __init__(self, text: str, file: str) -> None:
        self.text, self.file, self.pos = text, file, 0
        self.starts = [0, *(match.end() for match in re.finditer("\n", text))]  # of lines
        self.origins: dict[KeyPath, str] = {}

    def parse(self) -> ConfigTree:
        self._skip()
        if self._peek() != "{":
            raise self._error("a config is one JSON object, so it starts with '{'")
        values = self._value(())
        self._skip()
        if self.pos < len(self.text):
            raise self._error("text after the end of the config")
        return ConfigTree(values, self.origins)

    def _value(self, path: KeyPath) -> Any:
        self._skip()
        if len(path) > _DEEPEST:
            raise RecursionError
        if path:
            self.origins[path] = f"{self.file}:{self._line()}"
        if self._peek() == "{":
            return self._object(path)
        if self._peek() == "[":
            return self._array(path)
        if self._peek() == '"':
            return self._string()
        return self._word()

    def _object(self, path: KeyPath) -> dict[str, Any]:
        found: dict[str, Any] = {}
        self._expect("{")
        while not self._closes("}"):
            start = self.pos
            if self._peek() != '"':
                raise self._error("expected a key in double quotes")
            key = self._string()
            if key in found:
                raise self._error(f"the key {json.dumps(key)} stands twice in this section", at=start)
            self._expect(":")
            found[key] = self._value((*path, key))
            self._comma_before("}")
        return found

    def _array(self, path: KeyPath) -> list[Any]:
        found: list[Any] = []
        self._expect("[")
        while not self._closes("]"):
            found.append(self._value((*path, len(found))))
            self._comma_before("]")
        return found

    def _string(self) -> str:
        match = _STRING.match(self.text, self.pos)
        if match is None:
            line = self.text[self.pos :].split("\n", 1)[0]
            what = (
                "a tab in a string is written \\t" if "\t" in line else "this string has no closing quote on its line"
            )
            raise self._error(what, fix=_BACKSLASH if '\\"' in line else None)
        if _DRIVE.match(match.group()):
            raise self._error("a backslash in a string begins an escape, as in \\n", fix=_BACKSLASH)
        try:
            value: str = json.loads(match.group())
        except json.JSONDecodeError as error:
            raise self._error(f"{error.msg.split(':')[0]} in a string", fix=_BACKSLASH) from None
        self.pos = match.end()
        return value

    def _word(self) -> Any:
        match = _WORD.match(self.text, self.pos)
        try:
            value = json.loads(match.group(), parse_constant=no_constant) if match else None
            if isinstance(value, float) and not math.isfinite(value):
                match = None
        except ValueError:  # no JSON word, or a number with more digits than Python reads
            match = None
        if match is None:
            word = _WORD.match(self.text, self.pos)
            python = {"True": "true", "False": "false", "None": "null"}.get(word.group() if word else "")
            if python is not None:
                raise self._error(f"JSON writes {python} here")
            if self._peek() == "'":
                raise self._error("a text stands in double quotes")
            raise self._error("expected a value: a string in double quotes, number, true, false, null, { or [")
        self.pos = match.end()
        return value

    def _closes(self, bracket: str) -> bool:
        self._skip()
        if self._peek() != bracket:
            return False
        self.pos += 1
        return True

    def _comma_before(self, bracket: str) -> None:
        self._skip()
        if self._peek() == ",":
            self.pos += 1
        elif self._peek() != bracket:
            raise self._error(f"expected ',' or '{bracket}'")

    def _expect(self, character: str) -> None:
        self._skip()
        if self._peek() != character:
            raise self._error(f"expected '{character}'")
        self.pos += 1

    def _peek(self) -> str:
        return self.text[self.pos : self.pos + 1]

    def _skip(self) -> None:
        match = _SPACE.match(self.text, self.pos)
        assert match is not None  # the pattern matches the empty string
        self.pos = match.end()

    def _line(self) -> int:
        return bisect_right(self.starts, self.pos)

    def _error(self, what: str, at: int | None = None, fix: str | None = None) -> ConfigError:
        self.pos = self.pos if at is None else at
        start = self.text.rfind("\n", 0, self.pos) + 1
        line = self.text[start:].split("\n", 1)[0]
        column = self.pos - start + 1
        where = f"{self.file}:{self._line()}:{column}"
        return ConfigError(Problem(where, f"is not valid JSON: {what}", got=f"{line.strip() or 'end of the file'}",
                                   fix=fix))  # fmt: skip
