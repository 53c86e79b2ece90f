"""What is told: MIGRATION.md, and the lines on the terminal."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator, Mapping

from migration.code import FUNCTIONS, IMPORTS, Code, bound_by, classes_of, members_of
from migration.comparison import CLASSIC, WITH_DOOR
from migration.files import REPORT, ROOMS, git, listed
from migration.mends import changed_lines, mended_frames
from migration.plan import Plan, helpers
from migration.remarks import remarks
from migration.upstream import KNOWN, functions_of, is_upstream, loose_code
from migration.uses import Use
from scaffold.record import FOLDER
from scaffold.version import TEMPLATE

# Parts of the classic files that are nobody's own: not worth a word when they go unused.
UPSTREAM = {"Timer", "WriterTensorboardX", "__getitem__", "__getattr__", "__iter__", "__len__"}
MENDED_FRAME = "a data frame is written with `.loc`, since pandas 3 refuses or forgets the other form."
MENDED_LOAD = (
    "`weights_only=False`, since the project's own `ConfigParser` is in its checkpoints, as an object. That runs code "
    "that is in the file: open only checkpoints of your own."
)
SHOWN = 3  # places of a note; the others are counted


def generation_of(theirs: Mapping[str, Code]) -> str:
    """Which template a project was made from, by the marks of its framework files."""
    classes = classes_of(theirs.values())
    has = {f"{name}.{member}" for name in ("ConfigParser", "BaseTrainer") if name in classes
           for member in members_of(classes[name][1], classes)}  # fmt: skip
    has |= {f"utils.{name}" for path in ("utils/util.py", "utils/__init__.py") if path in theirs
            for name in theirs[path].names}  # fmt: skip
    is_new = {"ConfigParser.init_obj", "ConfigParser.from_args"}
    marks = {*is_new, "ConfigParser.initialize", "BaseTrainer._prepare_device", "utils.prepare_device"} & has
    for generation, its_own in {
        "G1 (April to September 2019)": {"ConfigParser.initialize", "BaseTrainer._prepare_device"},
        "G2 (September 2019 to November 2020)": {*is_new, "BaseTrainer._prepare_device"},
        "G3 (since November 2020)": {*is_new, "utils.prepare_device"},
    }.items():
        if marks == its_own:
            return generation
    return f"unclear; of the marks it has {', '.join(sorted(marks)) or 'none'}"


def report(plan: Plan) -> str:
    """The text of MIGRATION.md: first what has to be done, then what is good to know, then what was done."""
    rooms = ", ".join(f"`{room}`" for room in ROOMS)
    found = remarks(plan)
    moved_rows = [f"- `{new}` is the old `{old}`: {', '.join(f'`{name}`' for name in helpers(plan, old))}"
                  for old, new in plan.moved.items()]  # fmt: skip
    edits = [row for advice, places in found.to_edit.items() for row in (f"- {advice}", *map("  - {}".format, places))]
    written = "\0".join((*plan.writes, REPORT))
    ignored = git(plan.project, "check-ignore", "-z", "--stdin", stdin=written).stdout.split("\0")[:-1]
    parts = [
        ("Migrated from the classic template", "", [f"Generation: {generation_of(plan.theirs)}. The commit before: "
         f"`{plan.commit}`. No file was changed outside of {rooms}.\n"
         "What differs from the classic template is told in Espalier's `docs/migrating.md`."]),
        ("To edit before training", "", [*changed_rows(plan), *edits] or ["Nothing was found."]),
        ("Ignored by git", "Add these with `git add -f`, or they are missing in a clone.",
         [f"- `{each}`" for each in ignored]),
        ("To know", "None of this keeps the project from running.",
         [*(note_row(advice, places) for advice, places in found.to_know.items()),
          *(f"- {each}" for each in general_remarks(plan))]),
        ("Replaced", "", [f"{len(plan.replaced)} files: {', '.join(f'`{path}`' for path in plan.replaced)}."]
         if plan.replaced else []),
        ("Gone", "Ours lacks these, and no certain use of them was found.", list(losses(plan))),
        ("Kept", "The project uses what ours lacks of these files, so they are its own still.",
         list(kept_rows(plan))),
        ("Mended", "", list(mended_rows(plan))),
        ("Names of the project's own", "They are imported from where they were; our modules look them up here.",
         [*moved_rows, *(f"- `{name}` lists them" for name in plan.doors)]),
        ("Files of the project's own in these rooms", "Unchanged.", [f"- `{name}`" for name in plan.guests]),
        ("Added", "", [f"{len(plan.added)} files of the framework."] if plan.added else []),
        ("Record", "", [f"`{FOLDER}/` has what Espalier's files were: commit it, `new_project.py --update` needs it."]
         if plan.record else []),
        ("Undo", "Before `git add`; the second command shows what it would delete, and with `-f` in place of `-n` "
         "deletes it. After the commit: `git revert HEAD`.", undo(plan)),
    ]  # fmt: skip
    texts = ["\n\n".join(filter(None, (f"## {title}", lead, "\n".join(rows)))) for title, lead, rows in parts if rows]
    return "\n\n".join(texts)[1:] + "\n"


def note_row(advice: str, places: list[str]) -> str:
    """A note with its first places, and how many there are; all of them where each has a name of its own."""
    if any("`" in place for place in places):
        return f"- {advice} ({', '.join(places)})"
    more = f", and {len(places) - SHOWN} more" if len(places) > SHOWN else ""
    return f"- {advice} ({', '.join(places[:SHOWN])}{more})"


def changed_rows(plan: Plan) -> list[str]:
    """The classic files that are replaced and that the project had changed, each with the command that shows how."""
    rows = []
    for path in plan.replaced:
        names = [f"`{name}`" if isinstance(node, FUNCTIONS) else name for name, node in changes(plan, path).items()]
        if names:
            rows.append(f"  - `{path}`: {', '.join(names)}; `{edits(plan, path)}`")
    lead = "These are replaced, and what the project had changed in them is gone: bring over what it needs."
    return [f"- {lead}", *rows] if rows else []


def mended_rows(plan: Plan) -> Iterator[str]:
    """The lines of classic files that stay which were written in another form."""
    for path in plan.mends:
        old = (plan.project / path).read_bytes()
        frames = mended_frames(old)
        for what, numbers in ((MENDED_FRAME, changed_lines(old, frames)),
                              (MENDED_LOAD, changed_lines(frames, plan.staying(path)))):  # fmt: skip
            if numbers:
                yield f"- {path}: line{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))}: {what}"


def changes(plan: Plan, path: str) -> dict[str, ast.AST]:
    """What is not as in the classic template: functions that it or ours has, and lines of code beside functions."""
    code, compared = plan.theirs[path], plan.compared
    loose = (node for node in loose_code(code) if not {*bound_by(node)} & compared.lacking[path].keys())
    found: dict[str, ast.AST] = {f"line {node.lineno}": node for node in loose}
    for name, node in functions_of(code):
        owner, _, member = name.rpartition(".")
        pair = compared.pairs.get(owner)
        is_ours = member in pair.ours if pair else not owner and name not in compared.lacking[path]
        if (is_ours or name in KNOWN) and not is_upstream(name, node):
            found[name] = node
    return found


def kept_rows(plan: Plan) -> Iterator[str]:
    """Classic files that stay, what is missing for each, and the places that need it."""
    for path, reason in plan.kept.items():
        yield f"- `{path}`.{reason}" + (f" Missing for it: {CLASSIC[path]}." if CLASSIC[path] else "")
        uses = [use for use in plan.uses if use.path == path and not (use.is_name and path.startswith(WITH_DOOR))]
        for name in sorted({use.name for use in uses}):
            first, *others = sorted((use for use in uses if use.name == name), key=Use.order)
            yield f"  - {first.what}: {', '.join(use.place for use in (first, *others))}"


def edits(plan: Plan, name: str) -> str:
    """The command that shows what the project changed in a file or, where its history does not tell, the file."""
    first = git(plan.project, "log", "--format=%h", "--diff-filter=A", "--", name).stdout.split()
    if first and git(plan.project, "diff", "--quiet", first[-1], plan.commit, "--", name).returncode == 1:
        return f"git diff {first[-1]} {plan.commit} -- {name}"
    return f"git show {plan.commit}:./{name}"


def losses(plan: Plan) -> Iterator[str]:
    """Definitions in replaced files that ours do not have."""
    for path in plan.replaced:
        lacking = {} if path in plan.moved else plan.compared.lacking[path]
        found = {name: node for name, node in lacking.items() if not isinstance(node, IMPORTS)}
        for name, pair in plan.compared.pairs.items():
            if pair.path == path:
                found |= {f"{name}.{each}": node for each, node in pair.theirs.items()
                          if each in pair.lost and isinstance(node, FUNCTIONS)}  # fmt: skip
        for name, node in found.items():
            if name not in KNOWN and name.rpartition(".")[2] not in UPSTREAM:
                yield f"- {path}:{getattr(node, 'lineno', 1)} `{name}`"


def general_remarks(plan: Plan) -> Iterator[str]:
    """What is about no place in the code."""
    if "base/base_trainer.py" in plan.replaced:
        yield "A run whose loss is not finite at the end of an epoch ends there."
    if "logger/logger.py" in plan.replaced and "logger/logger_config.json" in plan.names:
        yield "`logger/logger_config.json` is unchanged, and only read where `setup_logging` is given its name."
    if "new_project.py" in plan.names:
        yield "`new_project.py` is unchanged: that of the classic template."
    packaging = TEMPLATE / "pyproject.toml"
    text = packaging.read_text(encoding="utf-8") if packaging.is_file() else ""
    if needs := re.search(r"^dependencies = \[(.*?)\]", text, re.DOTALL | re.MULTILINE):
        file = "`requirements.txt`, unchanged:" if "requirements.txt" in plan.names else "No `requirements.txt`:"
        packages = re.findall(r'"([^"]+)"', needs[1])
        yield f"{file} the framework needs {', '.join(packages)}."


def undo(plan: Plan) -> list[str]:
    """The commands that bring the old state back; they spare the files of the project's own that git does not know."""
    prefix = git(plan.project, "rev-parse", "--show-prefix").stdout.strip()
    names = listed(plan.project, "--others", "--exclude-standard", "--", *ROOMS, FOLDER)
    spared = [re.sub(r"([][*?!#\\])", r"\\\1", f"/{prefix}{name}") for name in names if name not in plan.writes]
    options = "".join(f"-e {shlex.quote(pattern)} " for pattern in spared)
    return ["    git checkout -- .", f"    git clean -n {options}-- {' '.join(ROOMS[:-1])} {FOLDER} {REPORT}"]


def summary(plan: Plan) -> Iterator[str]:
    """What is done, a line for each group."""
    yield f"{plan.project}: a project of the classic template, generation {generation_of(plan.theirs)}"
    num_changed, num_gone = sum(len(changes(plan, path)) for path in plan.replaced), len([*losses(plan)])
    lost = f"; what the project had changed ({num_changed}) or added ({num_gone}) in them is gone"
    yield f"  replaced    {len(plan.replaced)} files of the framework" + (lost if num_changed or num_gone else "")
    yield f"  added       {len(plan.added)} files of the framework"
    if plan.kept:
        yield f"  kept        {', '.join(plan.kept)}: the project uses what ours lacks"
    if plan.doors:
        yield f"  moved       names of the project's own, into {', '.join([*plan.moved.values(), *plan.doors])}"
    if plan.guests:
        yield f"  unchanged   files of the project's own in these rooms: {len(plan.guests)}"
    found = remarks(plan)
    yield f"  to edit     {sum(map(len, found.to_edit.values())) + len(changed_rows(plan)[1:])} places, before training"
    yield f"  to know     {len(found.to_know)} notes"
