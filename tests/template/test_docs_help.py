"""What docs/howto/help-and-completion.md says holds."""

import argparse
import re
import shlex

from espalier.config.completion import offered_overrides

PAGE = "docs/howto/help-and-completion.md"
BEGINS = {
    "trainer.precision": "trainer.precision",
    "optimizer": "optimizer",
    "optimizer.args.lr": "optimizer.args.lr, an argument of torch.optim.Adam: learning rate",
    "lr": "optimizer.args.lr, an argument of torch.optim.Adam: learning rate",
    "optimizer.type": "optimizer.type",
    "optimizer SGD": "torch.optim.SGD: ",
    "torch.nn.CrossEntropyLoss": "torch.nn.CrossEntropyLoss: ",
    "trainer.epochs": "trainer.epochs",
    "optimizer optimizer.type=SGD": "optimizer",
}


def test_docs_on_help_show_commands_that_answer(blocks, run):
    """Each command gives what the words behind it say."""
    lines = [line for block in blocks(PAGE, "sh")[:2] for line in block.splitlines()]
    assert len(lines) == len(BEGINS)
    for line in lines:
        _, script, *arguments = shlex.split(line, comments=True)
        done = run(script, *arguments)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(BEGINS[line.partition("--help ")[2].partition("#")[0].strip()]), line
    assert "torch.optim.SGD: " in done.stdout


def test_docs_on_completion_show_what_is_offered(root):
    """The rows about keys and values, and the line for fish."""
    page, nothing = (root / PAGE).read_text(), argparse.Namespace(config=str(root / "config.json"))
    rows = dict(re.findall(r"^\| `python train\.py (trainer\.\S+?)` \| (.*) \|$", page, re.MULTILINE))
    assert {prefix: re.findall("`([^`]*)`", text) for prefix, text in rows.items()} == {
        prefix: [each.removeprefix("trainer.precision=") for each in offered_overrides(prefix, nothing)]
        for prefix in ("trainer.ep", "trainer.precision=")
    }
    (script,) = re.findall(r"`source (espalier\S+)`", page)
    assert (root / script).is_file()
    assert 'eval "$(activate-global-python-argcomplete --dest=-)"' in page
