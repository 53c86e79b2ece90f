"""new_project.py --update over random histories: what the owner wrote survives, and what he left alone is as new."""

import itertools
import random

import pytest

from scaffold.record import FRAMEWORK, ROOMS
from tests.scaffold.updating import FILES, World, content, without_rooms, write

SHARED = [path for path in FILES if path.split("/")[0] not in (*ROOMS, "scaffold", "espalier")]
QUICK, SLOW = range(6), range(6, 206)


def next_template(files, rng):
    """Another version of the template: lines changed, files gone, new, in the place of folders."""
    files = dict(files)
    for path in rng.sample(sorted(files), 5):
        lines = files[path].splitlines(keepends=True) or ["\n"]
        spot = rng.randrange(len(lines))
        lines[spot : spot + rng.randrange(2)] = [f"# theirs {rng.random()}\n"] * (path != "config.json")
        files[path] = "".join(lines)
    if rng.random() < 0.5:
        files.pop(rng.choice([path for path in SHARED if path in files and path != ".gitignore"]), None)
    if rng.random() < 0.5:
        files[rng.choice(["base/", "utils/", "docs/docker/", "espalier/"]) + rng.choice("xyz")] = f"{rng.random()}\n"
    if rng.random() < 0.2 and (gone := files.pop("base/deep/b.py", None)):
        files["base/deep"] = gone
    return files


class Owner:
    """Someone who does anything to a project."""

    def __init__(self, project, rng):
        self.project, self.rng, self.count = project, rng, itertools.count()

    def work(self):
        """Some changes."""
        deeds = [self.insert, self.insert, self.insert, self.drop, self.delete, self.rename, self.add, self.windows]
        deeds += [self.replace, self.binary, self.program]
        for deed in self.rng.choices(deeds, k=self.rng.randrange(1, 9)):
            paths = [path for path in self.project.rglob("*") if is_theirs(path, self.project)]
            if paths:
                deed(self.rng.choice(sorted(paths)))

    def token(self):
        """What only the owner has written."""
        return f"owner-{next(self.count)}-{self.rng.random()}"

    def insert(self, path):
        lines = path.read_bytes().splitlines(keepends=True)
        lines.insert(self.rng.randint(0, len(lines)), f"# {self.token()}\n".encode())
        path.write_bytes(b"".join(lines))

    def drop(self, path):
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(line for line in lines if self.rng.random() < 0.7))

    def delete(self, path):
        path.unlink()

    def rename(self, path):
        path.rename(path.with_name(f"renamed-{self.token()}"))

    def add(self, path):
        name = self.rng.choice(["x", "y", "z", self.token()])
        if not (path.parent / name).exists():
            write(path.parent / name, f"{self.token()}\n")

    def windows(self, path):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))

    def replace(self, path):
        path.unlink()
        if self.rng.random() < 0.5:
            path.symlink_to(f"nowhere-{self.token()}")
        else:
            write(path / "inside", f"{self.token()}\n")

    def binary(self, path):
        path.write_bytes(path.read_bytes() + b"\0\xff " + self.token().encode())

    def program(self, path):
        path.chmod(0o755)


def is_theirs(path, project):
    """Whether the owner edits a file: one that is no link, and neither git's nor a record."""
    part = path.relative_to(project).parts[0]
    return (
        path.is_file() and not path.is_symlink() and part not in (".git", ".espalier", ".gitattributes", ".gitignore")
    )


def tokens_of(files):
    """What the owner wrote that is still there."""
    words = b"\n".join(files.values()).replace(b"nowhere-", b"").split()
    return {word for word in words if word.startswith(b"owner-")}


def check_update(world):
    """One update keeps what is the owner's, is one commit or none, and leaves nothing for another."""
    before, head = world.files(), world.commit()
    ends = world.update()
    after, new = world.files(), world.head
    assert ends in (0, 1) and world.git("status", "--porcelain") == ""
    assert new == head or world.git("rev-parse", "HEAD~1") == head
    assert tokens_of(before) <= tokens_of(after)
    in_rooms = {path: data for path, data in before.items() if path.split("/")[0] in ROOMS}
    assert in_rooms == {path: data for path, data in after.items() if path.split("/")[0] in ROOMS}
    assert (world.update(), world.head) == (0, new)


def histories(name):
    """Some in the default run, many in the slow one."""
    slow = [pytest.param(seed, marks=pytest.mark.slow) for seed in SLOW]
    return pytest.mark.parametrize(name, [*QUICK, *slow])


@histories("seed")
def test_what_the_owner_wrote_survives(tmp_path, monkeypatch, seed):
    """Wherever it was, through one to three updates; his rooms stay, and an update in a row does nothing."""
    rng, world, files = random.Random(seed), World(tmp_path / "world", monkeypatch), FILES
    owner = Owner(world.project, rng)
    for number in range(rng.choice([1, 1, 2, 3])):
        owner.work()
        files = next_template(files, rng)
        world.lay(files, f"0.{number + 3}.0")
        check_update(world)


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 52))])
def test_project_without_edits_is_as_a_fresh_one(tmp_path, monkeypatch, seed):
    """But for the rooms, byte for byte; what the owner has of his own is still there."""
    rng, world, files = random.Random(seed), World(tmp_path / "world", monkeypatch), FILES
    for number in range(2):
        write(world.project / f"own/{number}.txt", "mine\n")
        write(world.project / "model/model.py", f"mine = {number}\n")
        world.commit()
        files = next_template(files, rng)
        world.lay(files, f"0.{number + 3}.0")
        assert world.update() == 0
        own = {path: b"mine\n" for path in world.files() if path.startswith("own/")}
        assert without_rooms(world.files()) == {**without_rooms(world.fresh()), **own} and len(own) == number + 1


def test_framework_of_an_update_is_as_signed(tmp_path, monkeypatch):
    """Edited, deleted and added files of it make no difference."""
    world = World(tmp_path / "world", monkeypatch)
    write(world.project / "espalier/core.py", "edited = 1\n")
    (world.project / "espalier/config/read.py").unlink()
    world.commit()
    world.lay({**FILES, "espalier/new.py": "new = 1\n"}, "0.3.0")
    assert world.update() == 0
    framework = {path: data for path, data in world.files().items() if path.startswith(f"{FRAMEWORK}/")}
    assert framework == {path: data for path, data in world.fresh().items() if path.startswith(f"{FRAMEWORK}/")}
    assert content(world.project / "espalier_edits/0.2.0/core.py") == b"edited = 1\n"
    assert b"-core = 1\n+edited = 1\n" in content(world.project / "espalier_edits/0.2.0.patch")
