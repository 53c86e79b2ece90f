"""Do what a page says, as its reader would: write the files that blocks name, give the commands, compare what is shown.

A block of Python or of a config whose first line is a comment with a path is that file: `# model/model.py, at the end`,
`// configs/wide.json`. Other Python is run from top to bottom, as the cells of a notebook. `RUN` in a command is the
run folder that the last training has printed, `RUN1` and `RUN2` the first and second of the page. A block `text` is
what the commands before it print, or, after a line with `$`, what that command prints; `...` stands for anything.
Error messages are compared to the letter, other lines by their words, whatever their numbers. Before a line with `^C`
the command is interrupted.
"""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from textwrap import dedent

BLOCK = re.compile(r"^ *```(\w+)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)  # in lists, too
FILE = re.compile(r"(?:#|//) ([\w./-]+\.(?:py|json))(, at the end)?\n")
PRINTED = re.compile(r"^Run (\S+/models/\S+?/\S+?)(?:, started from .*)?\.$", re.MULTILINE)
NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?")
ADA = {f"GIT_{role}_{fact}": "ada@x.org" for role in ("AUTHOR", "COMMITTER") for fact in ("NAME", "EMAIL")}
WIDE = {"COLUMNS": "120"}  # of the terminal
LINES = "<lines>"  # what a line of three dots stands for
SHARE, LEAST = 4, 5  # of the epochs of a page one in so many is trained, but so many at least
NOT_GIVEN = {".", "tensorboard", "ssh", "tmux", "tail"}  # commands of another machine


def blocks_of(page):
    """Language and text of each block of a page, in order."""
    return [(language, dedent(text)) for language, text in BLOCK.findall(page.read_text(encoding="utf-8"))]


def commands_in(text):
    """The commands of a block, without comments; a line that ends in a backslash goes on."""
    joined = text.replace("\\\n", " ")
    return [words for line in joined.splitlines() if (words := shlex.split(line, comments=True))]


def shorten(config):
    """The text of a config, of fewer epochs."""
    return re.sub(
        r'"epochs": (\d+)', lambda found: f'"epochs": {max(int(found[1]) // SHARE, min(int(found[1]), LEAST))}', config
    )


def matches(shown, printed):
    """Whether a page shows what was printed."""
    if " error: " not in shown:  # rows and columns of a table may come in another order on another machine
        lines = [sorted(NUMBER.sub("0", line).split()) for line in printed.splitlines()]
        return all(sorted(NUMBER.sub("0", line).split()) in [*lines, ["..."]] for line in shown.splitlines())
    shown, printed = (re.sub(r"[ \t]+", " ", f"{text.strip()}\n") for text in (shown, printed))
    pattern = re.escape(re.sub(r"^\.\.\.\n", LINES, shown, flags=re.MULTILINE))
    pattern = pattern.replace(re.escape(LINES), "(?:.*\n)*?").replace(re.escape("..."), ".*")
    return re.search(f"^{pattern}", printed, re.MULTILINE) is not None


class Walk:
    """Someone who follows a page in a folder.

    Attributes:
        folder: where the commands are given; `cd` changes it.
        runs: the run folders that were printed, as they were printed.
        printed: by the last command.
    """

    def __init__(self, folder, run):
        self.folder, self.run = folder, run
        self.runs, self.printed, self.cells = [], "", []

    def follow(self, page):
        """Do the whole page; an AssertionError says where it is wrong."""
        for language, text in blocks_of(page):
            if (named := FILE.match(text)) is not None:
                self.write(named[1], text, is_added=named[2] is not None)
            elif language == "python":
                self.cells.append(text)
            elif language == "sh":
                self.run_cells()
                self.printed = "".join(map(self.give, commands_in(text)))
            elif language == "text":
                self.run_cells()
                self.compare(text)
        self.run_cells()

    def write(self, name, text, is_added):
        """Write a file of the page, or add to one that is there."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        assert path.is_file() == is_added, f"{name}: is it new, or at the end of what is there?"
        before = path.read_text(encoding="utf-8").rstrip("\n") + "\n\n\n" if is_added else ""
        path.write_text(before + (shorten(text) if name.endswith(".json") else text), encoding="utf-8")

    def run_cells(self):
        """Run the Python blocks so far, if there is one that has not been run."""
        if self.cells:
            script = self.folder / "cells_of_the_page.py"
            script.write_text(self.named("\n".join(self.cells)), encoding="utf-8")
            self.printed = self.give(["python", script.name])
            script.unlink()
            self.cells = []

    def compare(self, text):
        """What stands in a block of output is what was printed."""
        if not text.startswith("$ "):
            assert matches(text, self.printed), f"{text}\nis not in\n{self.printed}"
            return
        for each in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            command, shown = each.split("\n", 1)
            words = shlex.split(command)
            if "^C" in shown:
                self.printed = self.interrupt(words)
            else:
                self.printed = self.give(words, is_refused=" error: " in shown)
            assert matches(shown.replace("^C", ""), self.printed), f"{shown}\nis not in\n{self.printed}"

    def named(self, text):
        """A text with the run folders that it means."""
        for name, index in (("RUN1", 0), ("RUN2", 1), ("RUN", -1)):
            if re.search(rf"\b{name}\b", text):
                text = re.sub(rf"\b{name}\b", self.runs[index], text)
        return text

    def give(self, words, is_refused=False):
        """Give a command; returns what it prints."""
        words = [self.named(word) for word in words]
        if words[0] == "cd":
            self.folder = (self.folder / words[1]).resolve(strict=True)
            return ""
        if words[0] == "nohup":  # until > and what follows
            words = words[1 : words.index(">")]
        if words[0] == "sbatch":
            assert (self.folder / words[1]).is_file(), words
            return ""
        if words[0] == "pip":
            return self.check_extra(words)
        if words[0] in NOT_GIVEN:
            return ""
        if words[0] == "make":
            done = subprocess.run(["make", "-n", *words[1:]], cwd=self.folder, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            return self.give(["python", "train.py", "-c", "config.json"]) if words[1] == "train" else ""
        if words[0] == "python":
            done = self.run(*words[1:], cwd=self.folder, env=WIDE)
        elif words[0] == "torchrun":
            done = self.run("-m", "torch.distributed.run", *words[1:], cwd=self.folder, env=WIDE)
        else:
            done = subprocess.run(words, cwd=self.folder, capture_output=True, text=True, env={**os.environ, **ADA})
        assert (done.returncode == 2) if is_refused else (done.returncode == 0), (words, done.stdout, done.stderr)
        if words[:2] == ["python", "new_project.py"] and not words[2].startswith("-"):
            config = self.folder / words[2] / "config.json"
            config.write_text(shorten(config.read_text()))
        self.remember(done.stdout + done.stderr)
        return done.stdout + done.stderr

    def remember(self, printed):
        """Keep the run folders that a command has printed."""
        self.runs += [found for found in PRINTED.findall(printed) if found not in self.runs and "/check-" not in found]

    def interrupt(self, words):
        """Give a command and press Ctrl-C after its first epoch."""
        assert words[0] == "python"
        out = self.folder / "interrupted.txt"
        with out.open("w") as file:
            process = subprocess.Popen([sys.executable, *words[1:]], cwd=self.folder, stdout=file, stderr=file)
            while "Epoch 1/" not in out.read_text() and process.poll() is None:
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 130, out.read_text()
        printed = out.read_text()
        out.unlink()
        self.remember(printed)
        return printed

    def check_extra(self, words):
        """What pip is asked for is an extra of the project, or a package by its name."""
        extras = set(re.findall(r"^(\w+) = \[", (self.folder / "pyproject.toml").read_text(), re.MULTILINE))
        for word in words:
            if (named := re.fullmatch(r"\.\[([\w,]+)\]", word)) is not None:
                assert {*named[1].split(",")} <= extras, word
        return ""
