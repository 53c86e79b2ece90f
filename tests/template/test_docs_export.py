"""What docs/export.md says of bundles holds."""

import shlex

import numpy as np
import pytest

from espalier.export.packed import write_packed
from espalier.inference.bundle_files import BundleFiles
from tests.espalier.inference.small_bundle import small_files

PAGE = "docs/export.md"


def test_lines_of_the_page_predict(blocks, tmp_path, monkeypatch, capsys):
    """Of a bundle in the folder where they are run."""
    write_packed(tmp_path / "digits.zip", small_files(), "Small")
    monkeypatch.chdir(tmp_path)
    (lines,) = (each for each in blocks(PAGE, "python") if "load_bundle" in each)
    exec(lines, {"inputs": np.eye(3, dtype=np.float32)})
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["no", "no", "no"]


@pytest.mark.slow
def test_commands_of_the_page_write_bundles(root, run, finished, tmp_path):
    """Those that name a bundle, or a folder for the hub."""
    text = (root / PAGE).read_text(encoding="utf-8")
    commands = [line.strip() for line in text.splitlines() if line.startswith("    python export.py")]
    commands = [line for line in commands if "--bundle" in line or "--hub-folder" in line]
    assert len(commands) >= 3
    for command in commands:
        _, *args = shlex.split(command.replace("saved/models/<name>/<run>", str(finished[0])))
        place = args.index("--bundle" if "--bundle" in args else "--hub-folder") + 1
        args[place] = str(tmp_path / args[place])
        result = run(*args)
        assert result.returncode == 0, result.stderr
        assert "model.onnx" in BundleFiles(tmp_path / args[place].rpartition("/")[2]).names
