"""`pip install ./espalier`: the framework as a package, for a project that has no such folder."""

import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from importlib.util import find_spec

import pytest

from scaffold.version import version_of_template

OURS_ALONE = {"test", "dev", "docs", "audit"}  # extras of the repository
SHORT = ("trainer.epochs=1", "trainer.limit_train_batches=4", "trainer.limit_valid_batches=1", "n_gpu=0")
INPUT = "from PIL import Image; Image.new('L', (28, 28)).save('x.png')"
SERVED = "from espalier.serving.page import headers, page; assert '<body' in page() and headers()"
ROOM = "from espalier.errors import megabytes\n\nreveal_type(megabytes(1.0))\nmegabytes('one')\n"
needs_setuptools = pytest.mark.skipif(find_spec("setuptools") is None, reason="needs setuptools, which builds wheels")


@pytest.fixture(scope="module")
def pyprojects(root):
    """The two pyproject.toml, of the repository and of the framework."""
    tomllib = pytest.importorskip("tomllib")  # of Python 3.11
    return [tomllib.loads((root / each / "pyproject.toml").read_text(encoding="utf-8")) for each in (".", "espalier")]


def test_framework_asks_for_what_the_repository_asks_for(pyprojects):
    """Python, packages, licence and extras."""
    outer, inner = (each["project"] for each in pyprojects)
    for key in ("requires-python", "dependencies", "license"):
        assert inner[key] == outer[key]
    extras = {name: packages for name, packages in outer["optional-dependencies"].items() if name not in OURS_ALONE}
    assert inner["optional-dependencies"] == extras


def test_repository_and_framework_are_not_called_the_same(pyprojects):
    """Else pip would take out one for the other; what refers to the repository's extras follows its name."""
    outer, inner = (each["project"] for each in pyprojects)
    assert (outer["name"], inner["name"]) == ("espalier-template", "espalier")
    words = str(outer["optional-dependencies"])
    assert re.findall(r"'(espalier[\w-]*)\[", words) == ["espalier-template"] * 2


def test_every_package_of_the_framework_is_listed(root, pyprojects):
    """One that is not would be missing in the wheel."""
    folders = {path.parent for path in (root / "espalier").rglob("*.py") if "build" not in path.parts}
    named = {".".join(folder.relative_to(root).parts) for folder in folders}
    assert set(pyprojects[1]["tool"]["setuptools"]["packages"]) == named


def test_licence_is_in_the_framework_too(root):
    """Byte for byte."""
    assert (root / "espalier/LICENSE").read_bytes() == (root / "LICENSE").read_bytes()


def run(*command, cwd):
    """Run a command; its output, when it went well."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(project, tmp_path_factory):
    """The wheel of a project's framework, built twice: what the first build leaves does not come along."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(project / "espalier", folder / "espalier")
    for name in ("first", "second"):
        build(folder / "espalier", folder / name)
    first, second = (zipfile.ZipFile(next((folder / name).glob("*.whl"))).namelist() for name in ("first", "second"))
    assert first == second
    return next((folder / "second").glob("*.whl"))


def build(source, folder):
    """Build without a network."""
    flags = ("--quiet", "--no-build-isolation", "--no-deps", "--wheel-dir")
    run(sys.executable, "-m", "pip", "wheel", *flags, folder, source, cwd=folder.parent)


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory):
    """A Python that has the wheel, and all packages of this one."""
    folder = tmp_path_factory.mktemp("environment") / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    path = folder / "bin/python"
    site = run(path, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip()
    (folder / site / "others.pth").write_text(sysconfig.get_path("purelib"))
    run(sys.executable, "-m", "pip", f"--python={path}", "install", "--quiet", "--no-deps", wheel, cwd=folder)
    return path


@pytest.mark.slow
@needs_setuptools
def test_wheel_has_every_file_of_the_framework(wheel, project):
    """Those of its record and type information too, and its version in the name."""
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    files = {
        path.relative_to(project).as_posix()
        for path in (project / "espalier").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert names == files - {"espalier/pyproject.toml"} and {"espalier/py.typed", "espalier/MANIFEST"} <= names
    assert wheel.name == f"espalier-{version_of_template()}-py3-none-any.whl"


@pytest.mark.slow
@needs_setuptools
def test_wheel_of_a_source_archive_is_the_same(wheel, project, tmp_path):
    """`sdist` has all that the build needs, and nothing built."""
    shutil.copytree(project / "espalier", tmp_path / "source")
    code = f"from setuptools.build_meta import build_sdist; build_sdist({str(tmp_path)!r})"
    run(sys.executable, "-c", code, cwd=tmp_path / "source")
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as archive:
        archive.extractall(tmp_path / "out", filter="data")
    build(next((tmp_path / "out").iterdir()), tmp_path / "again")
    built = next((tmp_path / "again").glob("*.whl"))
    assert sorted(zipfile.ZipFile(built).namelist()) == sorted(zipfile.ZipFile(wheel).namelist())


@pytest.mark.slow
@needs_setuptools
def test_project_without_the_folder_runs_on_the_wheel(project, python, tmp_path):
    """Its tests and commands, and those whose pages and scripts are files of the package."""
    mine = tmp_path / "mine"
    shutil.copytree(project, mine)
    shutil.rmtree(mine / "espalier")
    assert " passed" in run(python, "-m", "pytest", "-q", cwd=mine)
    run(python, "train.py", "-c", "config.json", "--check", "n_gpu=0", cwd=mine)
    told = run(python, "train.py", "-c", "config.json", *SHORT, cwd=mine)
    folder = re.search(r"^Run (saved/models/.*)\.$", told, re.MULTILINE)[1]
    run(python, "-c", INPUT, cwd=mine)
    run(python, "-c", SERVED, cwd=mine)
    for command in (
        ("train.py", "-r", folder, "trainer.epochs=2"),
        ("test.py", "-r", folder),
        ("predict.py", "-r", folder, "x.png"),
        ("report.py", "saved", "-o", "runs.html"),
        ("tune.py", "-c", "configs/tune.json", "--trials", "2", *SHORT),
        ("export.py", "-r", folder, "--bundle", "bundle.zip"),
        ("train.py", "--help", "optimizer"),
    ):
        run(python, *command, cwd=mine)
    bundle = zipfile.ZipFile(mine / "bundle.zip")
    card = bundle.read(next(name for name in bundle.namelist() if name.endswith("bundle.json"))).decode()
    assert f'"espalier": "{version_of_template()}"' in card
    assert (mine / folder / "report.html").is_file() and (mine / "runs.html").is_file()


@pytest.mark.slow
@needs_setuptools
def test_types_of_the_wheel_are_seen(python, tmp_path):
    """A call with the wrong type is told, in a file that knows the framework from the wheel alone."""
    pytest.importorskip("mypy")
    (tmp_path / "room.py").write_text(ROOM)
    command = [python, "-m", "mypy", "--cache-dir", tmp_path / "cache", "--ignore-missing-imports", "room.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert 'Revealed type is "str"' in done.stdout.replace("builtins.", ""), done.stdout + done.stderr
    assert 'incompatible type "str"; expected "float"' in done.stdout
