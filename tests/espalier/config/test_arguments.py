"""Arguments of a config against signatures and annotations."""

import json
import pathlib
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, Optional, Union

import pytest
import torch
import torchvision

from espalier.config.arguments import check_call, fits, in_words
from espalier.config.json_text import parse_json
from espalier.config.tree import ConfigTree


class Enumish:
    """A class that the checker knows nothing about."""


def message(target, arguments, num_passed=0, is_partial=False):
    """All that is wrong with the arguments of `arch`, whose values come from nowhere; "" when nothing is."""
    tree = ConfigTree({"arch": {"args": arguments}})
    return "\n".join(map(str, check_call(tree, ("arch", "args"), target, arguments, num_passed, is_partial)))


def taking(hint, default=None):
    """A function called `build` with one argument `x` of that annotation."""

    def build(x=default): ...

    build.__annotations__ = {"x": hint}
    build.__module__, build.__qualname__ = "room", "build"
    return build


# types


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (int, 3),
        (float, 0.5),
        (float, 3),
        (bool, False),
        (str, ""),
        (pathlib.Path, "data"),
        (Optional[pathlib.Path], "data"),
        (Literal["sum", "mean", 3], "mean"),
        (Literal["sum", "mean", 3], 3),
        (list, [1, "a"]),
        (list[int], [1, 2]),
        (list[int], []),
        (list[float], [1, 2.5]),
        (list[list[int]], [[1], []]),
        (tuple, [1, "a"]),
        (tuple[float, float], [0.9, 1]),
        (tuple[int, ...], [1, 2, 3]),
        (Sequence[str], ["a"]),
        (Iterable[int], [1]),
        (set[int], [1]),
        (dict, {"a": 1}),
        (dict[str, int], {"a": 1}),
        (Mapping[str, Any], {}),
        (Optional[int], None),
        (Optional[int], 3),
        (int | None, None),
        (Union[int, str], "a"),
        (Union[int, tuple[int, int]], [3, 3]),
        (bool | Literal["auto"], "auto"),
        (Annotated[int, "at least 1"], 1),
        (Optional[Annotated[float, "a share"]], 1),
        (None, None),
        (Any, [1, {"a": None}]),
        (Enumish, "NAME"),
        (Callable[..., int], "relu"),
        (torch.Tensor, [0.5]),
        (float | torch.Tensor, 0.5),
        (int, {"type": "Net"}),
        (list[int], [{"type": "Net", "args": {"a": 1}}]),
        (str | None, {"type": "Net"}),
        (Callable[..., int] | None, {"type": "Net", "partial": True}),
        (Callable[..., int] | list[Callable[..., int]], {"type": "Net", "partial": True}),
    ],
)
def test_check_call_value_that_the_annotation_takes_is_accepted(hint, value):
    """Whatever JSON can say of an annotation passes, and so does a block whose object is not known yet."""
    assert message(taking(hint), {"x": value}) == ""


@pytest.mark.parametrize(
    ("hint", "value", "expected"),
    [
        (int, "3", "a whole number"),
        (int, 3.0, "a whole number"),
        (int, True, "a whole number"),
        (int, None, "a whole number"),
        (int, {"type": "Net", "width": 1}, "a whole number"),
        (float, "0.5", "a number"),
        (float, True, "a number"),
        (bool, 0, "true or false"),
        (bool, "false", "true or false"),
        (str, 3, "a text"),
        (pathlib.Path, 3, "a path"),
        (Literal["sum", "mean", 3], "men", 'one of: "sum", "mean", 3'),
        (Literal[1], True, "one of: 1"),
        (list, "a", "a list"),
        (list[int], 1, "a list, each item a whole number"),
        (list[int], [1, "2"], "a list, each item a whole number"),
        (list[list[float]], [[0.5], 0.5], "a list, each item a list, each item a number"),
        (tuple[float, float], [0.9], "a list of 2: a number, a number"),
        (tuple[int, ...], [1, 2.5], "a list, each item a whole number"),
        (Sequence[str], "ab", "a list, each item a text"),
        (dict, [1], "a section"),
        (Mapping[str, int], "a", "a section"),
        (Optional[int], "3", "a whole number or null"),
        (int | str, 0.5, "a whole number or a text"),
        (int | tuple[int, int], [3], "a whole number or a list of 2: a whole number, a whole number"),
        (Optional[Union[int, Literal["auto"]]], "aut", 'a whole number or one of: "auto" or null'),
        (Annotated[int, "at least 1"], 1.5, "a whole number"),
        (float | torch.Tensor, "0.5", "a number or a list of numbers"),
        (None, 3, "null"),
    ],
)
def test_check_call_value_of_another_type_is_refused_in_words(hint, value, expected):
    """A value that the annotation does not take is shown with what it takes, in words of JSON."""
    assert message(taking(hint, default=...), {"x": value}) == (
        "config error: arch.args.x has the wrong type for room.build\n"
        f"  got       {json.dumps(value)}\n"
        f"  expected  {expected}" + (f"\n  fix       write {value}" if value in ("3", "0.5", "false") else "")
    )


@pytest.mark.parametrize("name", ["own.scale", "torch.nn.ReLU"])
@pytest.mark.parametrize("hint", [Callable[..., int], Optional[Callable[[int], int]], Callable[..., int] | None])
def test_check_call_name_of_a_function_is_no_function(hint, name):
    """It would be passed on as a text, and fail when it is called."""
    (problem,) = check_call(ConfigTree({}), ("arch", "args"), taking(hint), {"x": name}, 0)
    expected = 'a function, {"type": ..., "partial": true}' + ("" if hint == Callable[..., int] else " or null")
    assert (problem.expected, problem.fix) == (expected, f'write {{"type": "{name}", "partial": true}}')


@pytest.mark.parametrize("weights", ["DEFAULT", "IMAGENET1K_V1", None])
def test_check_call_text_for_an_optional_unknown_class_is_accepted(weights):
    """What a class that the checker does not know takes is not its business, in a union with None either."""
    assert message(torchvision.models.resnet18, {"weights": weights}) == ""


@pytest.mark.parametrize(("hint", "default"), [(int, None), (float, "auto"), (str, False), (list[int], 3), (int, 0.5)])
def test_check_call_default_outside_its_annotation_is_accepted(hint, default):
    """A default may be written out, though its annotation forgot it."""
    assert message(taking(hint, default), {"x": default}) == ""


def test_check_call_value_equal_to_a_default_of_another_type_is_refused():
    """True equals the default 1, but is not it."""
    assert message(taking(int, 1), {"x": True}).splitlines()[-1] == "  expected  a whole number"


def test_check_call_annotations_that_cannot_be_evaluated_check_no_types():
    """Names that only a type checker sees do not stop a config."""
    room = types.ModuleType("room")
    exec("from __future__ import annotations\ndef build(x: NoSuchName, y: int = 1): ...", room.__dict__)
    assert message(room.build, {"x": 1, "y": "a"}) == ""


def test_check_call_annotations_of_the_type_checker_alone_are_known_where_they_are_common():
    """`Iterable` and the like are often imported for the type checker only, as PyTorch does for its schedules."""
    kind = torch.optim.lr_scheduler.MultiStepLR
    assert message(kind, {"milestones": [5, 9]}, num_passed=1) == ""
    assert "each item a whole number" in message(kind, {"milestones": [5, 9.5]}, num_passed=1)


def test_check_call_what_the_program_passes_by_name_is_not_lacking():
    """Wherever it stands among the arguments; those before it are asked for."""
    tree, kind = ConfigTree({}), torch.optim.lr_scheduler.ChainedScheduler
    here = ("lr_scheduler", "args")
    assert not list(check_call(tree, here, kind, {"schedulers": []}, 1, passed_name="optimizer"))
    (problem,) = check_call(tree, here, kind, {"optimizer": 1, "schedulers": []}, 1, passed_name="optimizer")
    assert problem.what == "is passed by the program, so it cannot be set here"
    (problem,) = check_call(tree, here, kind, {}, 1, passed_name="optimizer")
    assert problem.path == "lr_scheduler.args.schedulers"


def test_check_call_text_annotations_are_evaluated():
    """`from __future__ import annotations` hides nothing."""
    room = types.ModuleType("room")
    exec("from __future__ import annotations\nclass Net:\n    def __init__(self, x: int): ...", room.__dict__)
    assert message(room.Net, {"x": "3"}) == (
        "config error: arch.args.x has the wrong type for room.Net\n"
        '  got       "3"\n'
        "  expected  a whole number\n"
        "  fix       write 3"
    )  # fmt: skip


@pytest.mark.parametrize("hint", [int, Optional[int], list[int], dict[str, int], tuple[int, str], Literal["a", "b"]])
def test_in_words_differs_where_the_annotation_does(hint):
    """The words of an annotation are those of its own, not its Python name."""
    assert "class" not in in_words(hint) and "typing" not in in_words(hint)
    assert not fits(object(), hint)


# names


def test_check_call_faults_of_all_kinds_are_all_named_with_their_lines():
    """Unknown, passed by the program, wrong type and missing, each with where it stands."""

    def build(model, width: int, *, depth, rate: float = 0.1): ...

    build.__module__, build.__qualname__ = "room", "build"
    tree = parse_json('{"arch": {\n"args": {\n"model": 1,\n"widht": 8,\n"rate": "0.1"}}}', "c.json")
    problems = check_call(tree, ("arch", "args"), build, tree.at(("arch", "args")), 1)
    assert "\n".join(map(str, problems)) == (
        "config error: arch.args.model is passed by the program, so it cannot be set here\n"
        "  from      c.json:3\n"
        "  got       1\n"
        "  fix       remove it\n"
        "config error: arch.args.widht is not an argument of room.build\n"
        "  from      c.json:4\n"
        "  got       8\n"
        "  expected  one of: width, depth, rate\n"
        "  closest   width\n"
        '  fix       write "width": 8 under arch.args\n'
        "config error: arch.args.rate has the wrong type for room.build\n"
        "  from      c.json:5\n"
        '  got       "0.1"\n'
        "  expected  a number\n"
        "  fix       write 0.1\n"
        "config error: arch.args.width is missing: room.build needs it\n"
        "  from      c.json:1\n"
        '  fix       write "width": ... under arch.args\n'
        "config error: arch.args.depth is missing: room.build needs it\n"
        "  from      c.json:1\n"
        '  fix       write "depth": ... under arch.args'
    )


def test_check_call_function_without_arguments_says_so():
    """There is no list of names where there are none."""

    def build(): ...

    build.__module__, build.__qualname__ = "room", "build"
    assert message(build, {"x": 1}) == (
        "config error: arch.args.x is not an argument of room.build\n"
        "  got       1\n"
        "  expected  no arguments"
    )  # fmt: skip


@pytest.mark.parametrize("hint", [str, int | None, list[int]])
def test_check_call_factory_for_a_plain_value_is_refused(hint):
    """A block that is partial gives something to call, which is no text, number or list."""
    assert " has the wrong type for " in message(taking(hint), {"x": {"type": "Net", "partial": True}})


def test_check_call_of_a_loader_without_split_says_how_it_gets_one():
    """Not that of an argument of a data set in it, which is another thing."""

    def loader(data_dir, validation_split=0.0): ...

    tree = parse_json('{"data_loader": {"args": {"data_dir": "x", "split": {"fold": 1}}}}', "c.json")
    for path, is_loader in ((("data_loader", "args"), True), (("data_loader", "args", "dataset", "args"), False)):
        (problem,) = check_call(tree, path, loader, {"data_dir": "x", "split": {"fold": 1}}, 0)
        fix = "add split=None to the constructor of the loader, and pass it on to BaseDataLoader as split=split"
        assert problem.fix == (fix if is_loader else None)


def test_check_call_partial_lacks_nothing():
    """The rest of a factory's arguments comes later, but a misspelt one is still misspelt."""
    assert message(torch.nn.Linear, {"in_features": 3}, is_partial=True) == ""
    assert message(torch.nn.Linear, {"in_feature": 3}, is_partial=True).startswith(
        "config error: arch.args.in_feature is not an argument of torch.nn.Linear\n"
    )


def test_check_call_compiled_function_is_not_checked():
    """What tells no signature takes what it takes."""
    assert message(torch.sigmoid, {"anything": 1}) == ""


def test_check_call_keywords_of_any_name_are_accepted_but_the_known_are_checked():
    """`**kwargs` opens the names, not the types."""

    def build(width: int = 1, **options): ...

    assert message(build, {"depth": "x"}) == ""
    assert "arch.args.width has the wrong type" in message(build, {"width": "x", "depth": "x"})
