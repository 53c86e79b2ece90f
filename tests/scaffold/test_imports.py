"""Imports of what has moved since version 0.1: rewritten from text to text, by their positions."""

import ast
import importlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaffold.first import moves as moves_module
from scaffold.first.config_paths import rewritten_config
from scaffold.first.imports import rewritten
from scaffold.first.moves import PACKAGES, Moves, names_in

MOVES = Moves()
ACCUMULATOR = "espalier.training.accumulator"
TABLE = json.loads((Path(moves_module.__file__).parent / "moves.json").read_text(encoding="utf-8"))
MOVED = [(old, name) for old, row in TABLE.items() for name in row if name]
STEPPER = "espalier.training.stepper"

# What stands there, and what is written instead.
CASES = {
    "module": ("import engine.monitor as m  # why\n", "import espalier.training.monitor as m  # why\n"),
    "submodule": ("from engine import update\n", "from espalier.training import stepper as update\n"),
    "alias": (
        "from engine import monitor as m, rng\n",
        "from espalier.training import monitor as m\nfrom espalier import rng\n",
    ),
    "name": ("from engine.monitor import Monitor as M\n", "from espalier.training.monitor import Monitor as M\n"),
    "brackets": (
        "from engine.monitor import (\n    Monitor,  # why\n)\n",
        "from espalier.training.monitor import (\n    Monitor,  # why\n)\n",
    ),
    "backslash": ("from engine.rng \\\n    import DEFAULT_SEED\n", "from espalier.seeds import DEFAULT_SEED\n"),
    "renamed": ("from engine.update import Update\n", f"from {ACCUMULATOR} import Accumulator as Update\n"),
    "renamed with alias": (
        "from engine.update import Update as U\n", "from espalier.training.accumulator import Accumulator as U\n"
    ),
    "apart": (
        "if x:\n    from engine.update import Update, Average\n",
        "if x:\n    from espalier.training.accumulator import Accumulator as Update\n"
        "    from espalier.training.evaluation_weights import Average\n",
    ),
    "apart, one line": (
        "x = 1; from engine.update import Update, Average\n",
        "x = 1; from espalier.training.accumulator import Accumulator as Update; "
        "from espalier.training.evaluation_weights import Average\n",
    ),
    "dotted": (
        "import engine.monitor\na = engine.monitor.Monitor('engine.monitor')\n",
        "import espalier.training.monitor\na = espalier.training.monitor.Monitor('engine.monitor')\n",
    ),
    "dotted, module itself": (
        "import os, engine.monitor\na = [engine.monitor]\n",
        "import os, espalier.training.monitor\na = [espalier.training.monitor]\n",
    ),
    "dotted, moved apart": (
        "import engine.update\na = engine.update.Average.of\n",
        f"import {STEPPER}, espalier.training.evaluation_weights\n"
        "a = espalier.training.evaluation_weights.Average.of\n",
    ),
    "star": (
        "from engine.restore import *\nload_part(1)\n",
        "from espalier.training.restore import *\n"
        "from espalier.training.restore_optimizer import load_part\nload_part(1)\n",
    ),
    "windows": ("é = 1\r\nfrom engine.update import Update, Average\r\n",
        "é = 1\r\nfrom espalier.training.accumulator import Accumulator as Update\r\n"
        "from espalier.training.evaluation_weights import Average\r\n"),
    "mark": ("\ufefffrom engine.monitor import Monitor\n", "\ufefffrom espalier.training.monitor import Monitor\n"),
    "after letters": (
        "é = 'ü'; from engine.monitor import Monitor\n", "é = 'ü'; from espalier.training.monitor import Monitor\n"
    ),
    "utils": ("from utils.schema import Key\n", "from espalier.config.key import Key\n"),
}  # fmt: skip
STAYS = [
    "from base import BaseTrainer\nfrom utils import MetricTracker, prepare_device\n"
    "from logger import TensorboardWriter\n",
    "from utils.util import ensure_dir, read_json\nfrom parse_config import ConfigParser\n",
    "# from engine.update import Update\ns = 'import engine.update'\n",
    "from engine import own\nfrom engine.own import thing\nimport engine.own\n",
    "from utils.mine import Key\nimport engines\nfrom .engine import update\n",
    "import torch.nn as nn\nfrom model.model import engine\nengine.update.Update\n",
    "this is no Python, from engine.update import Update\n",
]


@pytest.mark.parametrize(("old", "new"), CASES.values(), ids=CASES)
def test_rewritten_import_leads_to_the_new_place(old, new):
    """The name that is bound stays, and all else of the file."""
    result = rewritten(old.encode(), "trainer/trainer.py", MOVES)
    assert (result.text.decode(), result.left) == (new, [])
    assert result.changed


@pytest.mark.parametrize("text", STAYS)
def test_rewritten_other_text_stays(text):
    """What works still, what is the owner's, comments, texts, and what is no Python."""
    result = rewritten(text.encode(), "trainer/trainer.py", MOVES)
    assert (result.text.decode(), result.changed, result.left) == (text, [], [])


def test_rewritten_own_module_inside_the_old_room_imports_by_full_name():
    """A file of the owner's in `engine/` reaches its neighbours by dots."""
    result = rewritten(b"from .monitor import Monitor\nfrom . import rng\n", "engine/mine.py", MOVES)
    assert result.text == b"from espalier.training.monitor import Monitor\nfrom espalier import rng\n"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("\nfrom engine.sample_rng import SampleRng\n", [(2, "engine.sample_rng.SampleRng is gone")]),
        (
            "from engine.distributed import summed\n",
            [(1, "engine.distributed.summed is gone: see espalier.processes.collectives.all_reduce")],
        ),
        ("import engine.sample_rng\n", [(1, "engine.sample_rng is gone")]),
        ("from engine.sample_rng import *\n", [(1, "engine.sample_rng is gone")]),
    ],
)
def test_rewritten_what_is_gone_is_told_and_stays(text, left):
    """With its line, and with what may stand for it."""
    result = rewritten(text.encode(), "train.py", MOVES)
    assert (result.text.decode(), result.left) == (text, left)


def test_rewritten_name_that_left_its_module_is_told_where_the_module_has_another_name():
    """`u.Update` is not rewritten, as `u` may be anything by then."""
    result = rewritten(b"import engine.update as u\nu.Update()\n", "train.py", MOVES)
    assert result.text == f"import {STEPPER} as u\nu.Update()\n".encode()
    assert result.left == [(2, "engine.update.Update is gone: see espalier.training.accumulator.Accumulator")]


@given(st.lists(st.sampled_from(MOVED), min_size=1, max_size=6), st.booleans())
def test_rewritten_any_names_are_python_that_binds_the_same(names, nested):
    """Each statement still binds the names that it did, from modules that have them; a second time nothing changes."""
    indent = "    " if nested else ""
    text = ("if 1:\n" if nested else "") + "".join(f"{indent}from {old} import {name}\n" for old, name in names)
    result = rewritten(text.encode(), "train.py", MOVES)
    nodes = [node for node in ast.walk(ast.parse(result.text)) if isinstance(node, ast.ImportFrom)]
    bound = [alias.asname or alias.name for node in nodes for alias in node.names]
    assert sorted(bound) == sorted(name for _, name in names)
    assert rewritten(result.text, "train.py", MOVES).text == result.text


def test_moves_lead_to_what_there_is():
    """Each module and name of the table is in this template: who moves them again writes it there, too."""
    places = [MOVES.place(old, name) for old, name in MOVED]
    lost = [
        f"{each.module}.{each.name}"
        for each in places
        if each and each.module and each.name not in names_in(each.module)
    ]
    lost += [row[""] for row in TABLE.values() if row[""] and not names_in(row[""])]
    assert lost == []
    assert {old.split(".")[0] for old in TABLE} <= {*PACKAGES, "parse_config"}


@pytest.mark.slow
def test_moved_names_can_be_imported():
    """As Python sees it."""
    places = [MOVES.place(old, name) for old, name in MOVED]
    for place in places:
        if place and place.module:
            assert place.name in vars(importlib.import_module(place.module))


CONFIG = """{
    // "type": "engine.update.Update"
    "arch": {"type": "engine.update.Update"},  "engine.monitor.Monitor": 1,
    "b": "engine.sample_rng.SampleRng", "c": "base.BaseTrainer", "d": "engine.own.Thing", "e": "é engine.update.Update"
}
"""


def test_rewritten_config_has_new_paths():
    """In values alone: comments, keys and other texts stay; what is gone is told."""
    result = rewritten_config(CONFIG.encode(), MOVES)
    new = CONFIG.replace('{"type": "engine.update.Update"', '{"type": "espalier.training.accumulator.Accumulator"')
    assert result.text.decode() == new
    assert result.changed == [(3, '"espalier.training.accumulator.Accumulator"')]
    assert result.left == [(4, "engine.sample_rng.SampleRng is gone")]
