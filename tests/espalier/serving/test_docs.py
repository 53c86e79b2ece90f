"""What docs/serving.md says holds."""

import argparse
import re

from espalier.serving.flags import Limits, add_flags, limits_of
from tests.espalier.serving.served import listening, model_of_sums


def test_page_on_serving_tells_the_limits(root):
    """All of them, with their defaults."""
    text = (root / "docs" / "serving.md").read_text()
    told = dict(re.findall(r"^\| `--([\w-]+)` \| (.*?) \|", text, re.MULTILINE))
    defaults = {name.replace("_", "-"): f"{value:g}" if isinstance(value, float) else str(value)
                for name, value in vars(Limits()).items()}  # fmt: skip
    assert told == {**defaults, "batch-size": "as in evaluation"}
    parser = argparse.ArgumentParser()
    add_flags(parser)
    assert limits_of(parser.parse_args(["model"]), 32) == Limits()


def test_page_on_serving_has_a_client_that_works(root, capsys):
    """The lines of Python, at another address; one input is told to be none."""
    (code,) = re.findall(r"```python\n(.*?)```", (root / "docs" / "serving.md").read_text(), re.DOTALL)
    with listening(model_of_sums()) as address:
        exec(code.replace("http://127.0.0.1:8000", address), {})
    assert capsys.readouterr().out == "c\nthe input is another (got (2,); expected arrays of three numbers)\n"
