"""What the class or function that a config names says of itself: its first paragraph, and its arguments."""

from __future__ import annotations

import inspect
import re
import typing
from typing import Any, NamedTuple

from espalier.config.arguments import annotations_of, in_words
from espalier.config.docstring import arguments_in_docs, summary_of
from espalier.config.help_layout import paragraph, row
from espalier.config.meanings import meaning_of
from espalier.config.objects import full_name, signature_of
from espalier.config.overrides import value_at
from espalier.config.schema import LOADER_ARGS, LOADERS, PASSED
from espalier.config.suggestions import ours_for
from espalier.config.tree import ConfigTree, KeyPath, dotted
from espalier.errors import shorten

_SENTENCE = re.compile(r"(?<=[a-z)`\]])\.\s")
_DEFAULT = re.compile(r"\s*[(.]?\s*\bdefaults?\s*(?:to|is|:)\s*[^\s].*?(?:\)|$)", re.IGNORECASE)


_LONGEST_VALUE = 60  # characters of a value that is told


def shown(value: Any) -> str:
    """A value of a config, if it is short."""
    text = shorten(value)
    return text if len(text) <= _LONGEST_VALUE else "set"


class Named(NamedTuple):
    """A class or function, and where a config names it.

    Attributes:
        path: of the section or block; empty where no config names it.
        section: what it is for, such as "optimizer"; empty where that is not known.
        tree: the config.
    """

    target: Any
    path: KeyPath
    section: str
    tree: ConfigTree

    @property
    def given(self) -> dict[str, Any]:
        """The arguments that the config sets."""
        section = value_at(self.tree.values, self.path)
        args = section.get("args") if isinstance(section, dict) else None
        return args if isinstance(args, dict) else {}


def class_told(named: Named, width: int) -> list[str]:
    """Its name, its first paragraph, and a row for each argument."""
    docs, lines = arguments_in_docs(named.target), paragraph(in_short(named), width)
    rows = []
    for each in parameters_of(named):
        rows += row(each.name, _argument(named, each, docs.get(each.name, ""), is_short=True), width)
    unknown = [name for name in named.given if name not in {each.name for each in parameters_of(named)}]
    if unknown and not takes_any(named):
        rows += row(unknown[0], ["is not an argument of it"], width)
    if takes_any(named):
        rows += row("...", ["and others, which it passes on"], width)
    if not rows:
        return [*lines, "It takes no arguments from a config."]
    where = f"{dotted((*named.path, 'args'))}" if named.path else "args"
    return [*lines, "", f"Its arguments, under {where}:", *rows]


def argument_told(named: Named, name: str, width: int) -> list[str] | None:
    """All that is known of one argument; None where there is none of that name.

    One that only a class has which the named one is made of, as loaders are of `BaseDataLoader`, is told as that.
    """
    each, owner = _parameter(named, name)
    if each is None:
        return None
    path, text = dotted((*named.path, "args", name)), arguments_in_docs(owner).get(name) or _meaning(named, name)
    lines = paragraph(f"{path}, an argument of {full_name(owner)}: {text}".removesuffix(": "), width)
    texts = _argument(named._replace(target=owner), each, "", is_short=False)
    if owner is not named.target:
        texts.append(f"not taken by {full_name(named.target)}, which the config names: its __init__ has no {name}")
    lines += row("is", texts, width)
    return [*lines, *(row("such as", [", ".join(names)], width) if (names := ours_for(name)) else [])]


def _meaning(named: Named, name: str) -> str:
    """What an argument of a loader is for, whoever takes it."""
    is_known = named.section in LOADERS and not _is_inside(named) and name in LOADER_ARGS
    return meaning_of((named.section, "args"), name).text if is_known else ""


def _parameter(named: Named, name: str) -> tuple[inspect.Parameter | None, Any]:
    """An argument, and the class that takes it: the first that does of those that the named one is made of."""
    owners = named.target.__mro__[:-1] if inspect.isclass(named.target) else (named.target,)
    for owner in owners:
        for each in parameters_of(named._replace(target=owner)):
            if each.name == name:
                return each, owner
    return None, None


def in_short(named: Named) -> str:
    """Its name and its first paragraph."""
    summary = summary_of(named.target)
    return f"{full_name(named.target)}: {summary}" if summary else full_name(named.target)


def parameters_of(named: Named) -> list[inspect.Parameter]:
    """The arguments that a config may give: by name, and not passed by the program."""
    signature = signature_of(named.target)
    every = [] if signature is None else list(signature.parameters.values())
    is_made_first = inspect.isclass(named.target) and named.section in ("loss", "metrics")
    num_passed = 0 if is_made_first or _is_inside(named) else PASSED.get(named.section, 0)
    if named.section == "lr_scheduler" and any(each.name == "optimizer" for each in every):
        every, num_passed = [each for each in every if each.name != "optimizer"], 0
    return [each for each in every[num_passed:] if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)]


def _is_inside(named: Named) -> bool:
    return "args" in named.path


def takes_any(named: Named) -> bool:
    """Whether it takes arguments that its signature does not name."""
    signature = signature_of(named.target)
    return signature is None or any(each.kind is each.VAR_KEYWORD for each in signature.parameters.values())


def _argument(named: Named, each: inspect.Parameter, text: str, *, is_short: bool) -> list[str]:
    if is_short:
        text = _DEFAULT.sub("", _SENTENCE.split(text, maxsplit=1)[0]).rstrip(".")
    texts = [*([text] if text else []), _rule(named, each)]
    if each.name in named.given:
        here: KeyPath = (*named.path, "args", each.name)
        origin = named.tree.origin(here)
        texts.append(f"here {shown(named.given[each.name])}" + (f", {origin}" if origin else ""))
    return texts


def _rule(named: Named, each: inspect.Parameter) -> str:
    """What it takes, and what it is where it is not given."""
    hint = annotations_of(named.target).get(each.name, Any)
    kind = LOADER_ARGS[each.name].expected() if _meaning(named, each.name) else _kind(hint)
    if each.default is each.empty:
        return f"{kind}; needed" if kind else "needed"
    default = f"default {_written(each.default)}"
    return f"{kind}; {default}" if kind else default


def _kind(hint: Any) -> str:
    return "" if hint is Any or isinstance(hint, typing.TypeVar) else in_words(hint)


def _written(default: Any) -> str:
    """A default as a config would have it."""
    if inspect.isroutine(default) or inspect.isclass(default):
        return full_name(default)
    is_plain = default is None or isinstance(default, (bool, int, float, str, list, tuple, dict))
    return shorten(default) if is_plain else str(default)


def choices_told(names: list[str], width: int) -> list[str]:
    """The names that may stand at a `type`."""
    return paragraph(f"Its names: {', '.join(sorted(names))}; or a dotted path, such as package.module.Name", width)
