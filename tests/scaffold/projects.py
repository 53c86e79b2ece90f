"""Small templates and projects made from them, for tests of `new_project.py --update`."""

import os
import subprocess
import sys

from tests.template.test_new_project import git, make_template, write

FILES = {
    "base/base_trainer.py": "".join(f"line {n}\n" for n in range(1, 21)),
    "base/__init__.py": "",
    "espalier/atomic.py": "atomic\n",
    "espalier/data/order.py": "order\n",
    "model/model.py": "model\n",
    "trainer/trainer.py": "trainer\n",
    "docs/config.md": "".join(f"config {n}\n" for n in range(1, 11)),
    "utils/util.py": "util\n",
    "tests/project/test_own.py": "own\n",
    "scaffold/files/README.md": "# {name}\n\nMade from {version}.\n",
}


def at_home(folder):
    """The environment of a user with a name, and nothing of this machine's git configuration."""
    folder.mkdir(exist_ok=True)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("GIT_", "XDG_"))}
    who = {f"GIT_{role}_{key}": "ada@x.org" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    return {**kept, **who, "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1", "PYTHONDONTWRITEBYTECODE": "1"}


class Pair:
    """A template, and a project made from it."""

    def __init__(self, folder):
        self.template, self.project, self._env = folder / "template", folder / "project", at_home(folder / "home")
        make_template(self.template)
        for name, text in FILES.items():
            write(self.template / name, text)
        self.set_version("1.0.0")
        self.made = self.run(self.project)

    def run(self, *args, code=None):
        """Run the template's new_project.py, or a program with it."""
        program = [self.template / "new_project.py"] if code is None else ["-c", code]
        return subprocess.run([sys.executable, *program, *args], cwd=self.template, env=self._env, capture_output=True,
                              text=True, timeout=120)  # fmt: skip

    def update(self, *args):
        """Update the project."""
        return self.run("--update", self.project, *args)

    def set_version(self, version):
        """Make the template that of another version."""
        path = self.template / "pyproject.toml"
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = (f'version = "{version}"\n' if line.startswith("version") else line for line in lines)
        write(path, "".join(kept))

    def commit(self, text="mine"):
        """Commit all that there is in the project."""
        git(self.project, "add", "-A")
        subprocess.run(["git", "commit", "-qm", text, "--allow-empty"], cwd=self.project, env=self._env, check=True)

    def files(self):
        """The content of all committed files of the project, by path."""
        names = filter(None, git(self.project, "ls-files", "-z").split("\0"))
        return {name: (self.project / name).read_bytes() for name in names}

    def state(self):
        """The commit that is checked out, and what is not as in it."""
        return git(self.project, "rev-parse", "HEAD").strip(), git(self.project, "status", "--porcelain", "-uall")
