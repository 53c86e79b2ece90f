"""`${data.NAME}`: what the training data knows, put into the config when its loader is built."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from espalier.config.interpolation import FACT
from espalier.config.objects import full_name
from espalier.config.tree import ConfigTree, KeyPath, dotted
from espalier.errors import ConfigError, DataError, Problem, closest, parts_of_message


def refuse_unknown(tree: ConfigTree, section: KeyPath) -> None:
    """Refuse to build what asks for facts before they are known.

    Raises:
        ConfigError: something at `section` or below it is still to be told by the data.
    """
    unknown = [(path, name) for path, name in tree.from_data.items()
               if name not in tree.facts and _still_asks(tree, path, name, {})]  # fmt: skip
    if problems := [_fault(tree, path, name, "asks for what the data knows, and no data was built before",
                           fix="build the loader first: config.take_facts(data_loader.parts.fact)")
                    for path, name in unknown if path[: len(section)] == section]:  # fmt: skip
        raise ConfigError(problems)


def faults_of_facts(tree: ConfigTree, loader: Any, dataset: Any) -> Iterator[Problem]:
    """Facts that the data will not know, as far as that shows before it is there.

    Args:
        loader: the class that `data_loader` names.
        dataset: the class that its argument `dataset` names; None where it makes its dataset by itself. One that has no
            `facts` as a class may have some when it is made.
    """
    tells = hasattr(loader, "names_of_facts")
    dataset = dataset if isinstance(getattr(dataset, "facts", None), (tuple, list)) else None
    names = loader.names_of_facts(dataset) if tells and dataset is not None else ()
    for path, name in tree.from_data.items():
        if not tells:
            what = f"asks for what the data knows, and {full_name(loader)} does not tell"
            yield _fault(tree, path, name, what, fix="let it be a BaseDataLoader, or give the value itself")
        elif dataset is not None and name not in names:
            yield _unknown(tree, path, name, names)


def take_facts(tree: ConfigTree, fact: Callable[[str], Any], names: tuple[str, ...] = ()) -> None:
    """Put what the data knows in place of each `${data.NAME}`.

    Args:
        fact: gives the value of a name.
        names: that it knows.

    Raises:
        ConfigError: it does not know one of them.
    """
    problems, before, found = [], tree.facts, dict[str, Any]()
    for path, name in list(tree.from_data.items()):
        if not _still_asks(tree, path, name, before):
            del tree.from_data[path]  # the program has put something else there
            continue
        try:
            found[name] = found[name] if name in found else fact(name)
        except KeyError:
            problems.append(_unknown(tree, path, name, names))
        except DataError as error:
            head, answers = parts_of_message(error)
            problems.append(_fault(tree, path, name, f"cannot be told: {head}", answers.get("expected"),
                                   fix=answers.get("fix")))  # fmt: skip
        else:
            tree.at(path[:-1])[path[-1]] = found[name]
    if problems:
        raise ConfigError(problems)
    tree.facts = found


def _still_asks(tree: ConfigTree, path: KeyPath, name: str, known: Mapping[str, Any]) -> bool:
    """Whether at `path` stands what asks for a fact, or the fact itself."""
    try:
        value = tree.at(path)
    except (LookupError, TypeError):
        return False
    return bool(value == f"${{{FACT}{name}}}" or (name in known and value == known[name]))


def references(tree: ConfigTree) -> Mapping[KeyPath, str]:
    """The texts that ask for facts, by their places."""
    return {path: f"${{{FACT}{name}}}" for path, name in tree.from_data.items()}


def _unknown(tree: ConfigTree, path: KeyPath, name: str, names: tuple[str, ...]) -> Problem:
    expected = f"one of: {', '.join(names)}" if names else None
    return _fault(tree, path, name, "asks for what the data does not know", expected, closest(name, names))


def _fault(tree: ConfigTree, path: KeyPath, name: str, what: str, expected: str | None = None,
           near: str | None = None, fix: str | None = None) -> Problem:  # fmt: skip
    return Problem(dotted(path), what, tree.origin(path), f"${{{FACT}{name}}}", expected, near, fix)
