"""Start a project of your own from this template: python new_project.py ../myproj [--name "My project"]"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatch
from hashlib import sha256
from pathlib import Path

TEMPLATE = Path(__file__).resolve().parent

# What a project has of the template, beside tests/project, which are its tests.
PARTS = (
    "train.py", "test.py", "tune.py", "report.py", "predict.py", "export.py", "serve.py", "config.json", "configs",
    "data_loader", "model", "trainer", "data/digits", "parse_config.py", "base", "logger", "utils", "espalier",
    "README.md", "SECURITY.md", "docs/architecture.md", "docs/config.md", "docs/data.md", "docs/docker",
    "docs/evaluating.md", "docs/comparing.md", "docs/export.md", "docs/inputs.md", "docs/looking.md", "docs/models.md",
    "docs/notebooks.md", "docs/predicting.md", "docs/reliability.md", "docs/scale.md", "docs/search.md",
    "docs/serving.md", "docs/slurm.md", "docs/slurm", "docs/training.md", "LICENSE", "Makefile", "pyproject.toml",
    ".gitignore", ".pre-commit-config.yaml",
)  # fmt: skip
NEVER = (
    "__pycache__", "*.pyc", "*.egg-info", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis",
    ".ipynb_checkpoints", ".DS_Store", ".*.tmp",
)  # fmt: skip
ATTRIBUTES = "espalier/** linguist-vendored -text\n"  # others' code, whose bytes are those of its MANIFEST
ABOUT = """# {name}

Made from Espalier {version}, which is the folder `espalier/`. That is not edited here, and replaced as a whole;
`cd espalier && sha256sum --quiet --check MANIFEST` names each file that is not as it came."""
# git sets these while it runs a hook; with them, ours would write to that other repository.
FOREIGN_REPOSITORY = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR"}

_JSON_TOKEN = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:[^"\\\n]|\\.)*"(\s*:)?|[][{}]', re.DOTALL)
_ESPALIER_ONLY = re.compile(
    r"^ *(<!--|#) espalier only.*?^ *\1 /espalier only[^\n]*\n?(\r?\n)*", re.DOTALL | re.MULTILINE
)


class ProjectError(ValueError):
    """A project that cannot be made, and what to do about it."""

    def __init__(self, head: str, **answers: str) -> None:
        rows = [f"  {label:<9} {text}" for label, text in answers.items()]
        super().__init__("\n".join((f"new_project error: {head}", *rows)))


def check_name(name: str) -> None:
    """Raise a ProjectError unless `name` can stand in JSON, TOML, a heading and the path of a folder."""
    if not any(map(str.isalnum, name)) or not name.isprintable() or set(name) & set("/\\\"'`"):
        raise ProjectError(
            "this is no name for a project",
            got=repr(name),
            expected="a letter or digit, and no slash, quote or control character",
            fix='give another one with --name "My project"',
        )


def check_target(target: Path) -> None:
    """Raise a ProjectError unless `target` is free: not there yet, or an empty folder."""
    if not target.exists():
        return
    if not target.is_dir():
        raise ProjectError(f"{target} is a file", fix="name a folder that does not exist yet")
    entries = sorted(entry.name for entry in target.iterdir())
    if entries:
        got = entries[0] if len(entries) == 1 else f"{len(entries)} entries, such as {entries[0]}"
        raise ProjectError(f"{target} is not empty", got=got, fix="name a folder that does not exist yet")


def copy(source: Path, target: Path, made: Path) -> None:
    """Copy a file or folder, if it is there; `made` is our own new folder, which may lie inside the template."""
    if source == made or any(fnmatch(source.name, pattern) for pattern in NEVER):
        return
    if source.is_dir() and not source.is_symlink():
        target.mkdir(parents=True)
        for entry in source.iterdir():
            copy(entry, target / entry.name, made)
    elif source.exists() or source.is_symlink():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target, follow_symlinks=False)


def signature(files: Mapping[str, bytes], version: str) -> dict[str, bytes]:
    """VERSION and MANIFEST of a folder with these files: the SHA-256 of each, as `sha256sum --check` reads it."""
    signed = {**files, "VERSION": f"{version}\n".encode()}
    hashes = [f"{sha256(data).hexdigest()}  {name}\n" for name, data in sorted(signed.items())]
    return {"VERSION": signed["VERSION"], "MANIFEST": "".join(hashes).encode()}


def sign(folder: Path, version: str) -> None:
    """Write version and MANIFEST into a folder."""
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for name, data in signature(files, version).items():
        (folder / name).write_bytes(data)


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


def version_of_template() -> str:
    """As pyproject.toml has it."""
    path = TEMPLATE / "pyproject.toml"
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    found = re.search(r'^version\s*=\s*"([^"]*)"', text, re.MULTILINE)
    return found[1] if found else "of no version"


def drop_marked(text: str, name: str) -> str:
    """Drop what is between the marks `espalier only`, in Markdown or where comments begin with #."""
    return _ESPALIER_ONLY.sub("", text)


def rewrite(path: Path, edit: Callable[[str, str], str], name: str) -> None:
    """Edit a text file of the project; what is not there, or is reached through a link, stays as it is."""
    if path.is_file() and path.resolve() == path:
        text = path.read_bytes().decode("utf-8", "surrogateescape")  # bytes: line ends stay what they are
        path.write_bytes(edit(text, name).encode("utf-8", "surrogateescape"))


def fill_folder(project: Path, name: str, made: Path) -> None:
    """Copy the template into `project` and write the project's name where it belongs."""
    for part in PARTS:
        copy(TEMPLATE / part, project / part, made)
    copy(TEMPLATE / "tests/project", project / "tests", made)
    rewrite(project / "config.json", rename_config, name)
    for config in (project / "configs").glob("*.json"):
        rewrite(config, rename_config, f"{name}_{config.stem}")
    rewrite(project / "pyproject.toml", rename_pyproject, name)
    rewrite(project / "README.md", rename_readme, name)
    marked = ("Makefile", "SECURITY.md", ".gitignore", ".pre-commit-config.yaml")
    for path in (*(project / each for each in marked), *(project / "docs").glob("*.md")):
        rewrite(path, drop_marked, name)
    (project / ".gitattributes").write_text(ATTRIBUTES, encoding="utf-8")
    if (project / "espalier").is_dir():
        sign(project / "espalier", version_of_template())


def make_project(target: Path, name: str) -> None:
    """Make the folder and fill it; when that fails, what was not there before is gone again."""
    made = None
    try:
        missing = next((folder for folder in (*reversed(target.parents), target) if not folder.exists()), None)
        check_target(target)
        target.mkdir(parents=True, exist_ok=missing is None)
        made = missing
        fill_folder(target.resolve(), name, (made or target).resolve())
    except (OSError, KeyboardInterrupt) as error:
        if made:
            shutil.rmtree(made, ignore_errors=True)
        raise ProjectError(
            f"{target} could not be made",
            got=str(error) or "interrupted",
            fix="mend that or name another folder, one that is new or empty",
        ) from error


def start_repository(target: Path, name: str) -> str | None:
    """Make `target` a git repository with a first commit; returns what is left to do by hand, if anything."""
    env = {key: value for key, value in os.environ.items() if key not in FOREIGN_REPOSITORY}
    branch = ("symbolic-ref", "HEAD", "refs/heads/main")  # `init -b` needs git 2.28
    commit = ("commit", "-m", f"Start {name} from Espalier")
    by_hand = f"then run git add -A and git {shlex.join(commit)} there."
    for step in (("init",), branch, ("add", "-A"), ("var", "GIT_COMMITTER_IDENT"), commit):
        try:
            done = subprocess.run(["git", *step], cwd=target, env=env, capture_output=True, text=True, errors="replace")
        except OSError:
            return f"There is no history, as git is not installed: install it and run git init there, {by_hand}"
        if done.returncode and step[0] == "var":
            return f"Nothing is committed, as git does not know you: set user.name and user.email, {by_hand}"
        if done.returncode:
            reason = (done.stderr.strip() or "it gave no reason").splitlines()[-1]
            return f"Nothing is committed, as git {step[0]} failed ({reason}): mend that, {by_hand}"
    return None


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    usage = "%(prog)s [-h] [--name NAME] target\n       %(prog)s --migrate OLD [--dry-run]"
    parser = argparse.ArgumentParser(description="Start a project of your own from this template.", usage=usage)
    parser.add_argument("target", type=Path, nargs="?", help="the folder to make, or an empty one")
    parser.add_argument("--name", help="what the project is called; without it, as its folder")
    parser.add_argument("--migrate", type=Path, metavar="OLD", help="bring over a project of the classic template")
    parser.add_argument("--dry-run", action="store_true", help="with --migrate: only print what would be done")
    args = parser.parse_args(argv)
    if args.migrate is not None and args.target is None and args.name is None:
        command = [sys.executable, "-m", "migration", args.migrate.resolve()]
        return subprocess.run([*command, *(["--dry-run"] if args.dry_run else [])], cwd=TEMPLATE).returncode
    if args.target is None or args.migrate is not None or args.dry_run:
        parser.error("give either target or --migrate")
    target: Path = args.target
    try:
        name = (Path(os.path.realpath(target)).name if args.name is None else args.name).strip()
        check_name(name)
        make_project(target, name)
    except ProjectError as error:
        print(error, file=sys.stderr)
        return 2
    left_to_do = start_repository(target, name)
    print(f"{name} is in {target.resolve()}", *([left_to_do] if left_to_do else []), sep="\n")
    print("Go on with:", f"  cd {shlex.quote(str(target))}", "  make train", sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
