"""What a project has of the template, beside tests/project, which are its tests, and `scaffold/files`."""

from __future__ import annotations

from scaffold.examples import EXAMPLES
from scaffold.options import Options

CORE = (
    "train.py", "test.py", "config.json", "data_loader", "model", "trainer", "data/digits", "parse_config.py", "base",
    "logger", "utils", "espalier", "Makefile", "pyproject.toml", ".gitignore",
)  # fmt: skip
MORE = (
    "tune.py", "report.py", "predict.py", "export.py", "serve.py", "configs", "SECURITY.md", "docs/architecture.md",
    "docs/config.md", "docs/data.md", "docs/docker", "docs/evaluating.md", "docs/comparing.md", "docs/export.md",
    "docs/inputs.md", "docs/looking.md", "docs/models.md", "docs/notebooks.md", "docs/predicting.md",
    "docs/reference/keys.md", "docs/reliability.md", "docs/scale.md", "docs/search.md", "docs/serving.md",
    "docs/slurm.md", "docs/slurm", "docs/training.md", ".pre-commit-config.yaml",
    "notebooks/playground.ipynb",
)  # fmt: skip
MINIMAL_FILES = ("README.md",)  # of scaffold/files


def parts_of(options: Options) -> tuple[str, ...]:
    """The files and folders that are copied for a project."""
    parts = CORE if options.minimal else (*CORE, *MORE)
    if options.example is None:
        return parts
    example = EXAMPLES[options.example]
    configs = ("configs/tune.json",) if example.is_evaluated and not options.minimal else ()
    digits = () if example.has_digits else ("data/digits",)
    left_out = {"config.json", "configs", "notebooks/playground.ipynb", *digits}
    return (*(part for part in parts if part not in left_out), *configs)
