"""Draw the README's picture, a terminal that trains and the report of its runs: python -m benchmarks.readme_picture

It runs the commands below in a clone of this repository, in a terminal of its own, and keeps what they print and when.
"""

import argparse
import fcntl
import os
import pty
import re
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs/images/terminal.webp"
COLUMNS, ROWS, FONT_SIZE = 113, 24, 15
BACKGROUND, TEXT, DIM, ACCENT = "#16181d", "#d7dae0", "#8b93a1", "#7fc8a9"
ZOOM = 1.4  # of the page
STEP_S = 0.4  # of the picture, between frames
TYPING_S, READING_S = 0.5, 1.8
CONTROL = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])")
METRIC = 'metrics=["accuracy"]'  # so that the line of an epoch is no wider than the terminal
COMMANDS = (  # what is typed, and after how many epochs Ctrl-C is
    (f"python train.py -c config.json '{METRIC}'", 5),
    ("python train.py -r {run}", None),
    ("python test.py -r {run}", None),
    (f"python train.py -c config.json '{METRIC}' optimizer.args.learning_rate=0.01", None),
    (f"python train.py -c config.json '{METRIC}' optimizer.args.lr=0.01", None),
    ("python report.py saved/ -o report.html", None),
)


class Terminal:
    """The lines of a terminal, as far as a progress bar needs one."""

    def __init__(self):
        self.lines, self.row, self.column = [""], 0, 0

    def write(self, text):
        while text:
            if found := CONTROL.match(text):
                self.row -= (found[2] == "A") * int(found[1] or 1)
                text = text[found.end() :]
                continue
            self.put(text[0])
            text = text[1:]

    def put(self, char):
        if char == "\r":
            self.column = 0
        elif char == "\n" or self.column == COLUMNS:
            self.row, self.column = self.row + 1, 0
        self.lines += [""] * (self.row + 1 - len(self.lines))
        if char not in "\r\n":
            line = self.lines[self.row].ljust(self.column)
            self.lines[self.row] = line[: self.column] + char + line[self.column + 1 :]
            self.column += 1

    def screen(self):
        return tuple(self.lines[-ROWS:])


def run(folder, command, epochs):
    """Yield (seconds since the last, text) of a command in a terminal; Ctrl-C after so many epochs."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execvp(sys.executable, [sys.executable, *shlex.split(command)[1:]])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    told, before = "", time.monotonic()
    while True:
        try:
            text = os.read(terminal, 65536).decode(errors="replace")
        except OSError:  # how a terminal ends on Linux
            break
        now = time.monotonic()
        yield now - before, text
        told, before = told + text, now
        if epochs is not None and f"Epoch {epochs}/" in told:
            os.kill(pid, signal.SIGINT)
            epochs = None
    os.waitpid(pid, 0)


def frames(folder):
    """Screens of the terminal with the seconds that each is seen."""
    terminal, run_folder = Terminal(), "?"
    for command, epochs in COMMANDS:
        if "{run}" in command:
            run_folder = max((folder / "saved/models/Digits_LeNet").iterdir()).relative_to(folder)
        command = command.format(run=run_folder)
        terminal.write("$ ")
        yield terminal.screen(), TYPING_S
        terminal.write(command + "\r\n")
        yield terminal.screen(), TYPING_S
        since = 0.0
        for seconds, text in run(folder, command, epochs):
            since += min(seconds, 0.3)  # the wait for imports is not shown
            if since >= STEP_S:
                yield terminal.screen(), since
                since = 0.0
            terminal.write(text)
        yield terminal.screen(), READING_S


def draw(screen, font, size):
    from PIL import Image, ImageDraw

    image = Image.new("RGB", size, BACKGROUND)
    pen = ImageDraw.Draw(image)
    for row, line in enumerate(screen):
        colour = ACCENT if line.startswith("$ ") else DIM if line.startswith("  ") else TEXT
        pen.text((14, 12 + row * (FONT_SIZE + 4)), line, font=font, fill=colour)
    return image


def report_of(page, size, chromium):
    """The upper part of a page, as a browser shows it."""
    from PIL import Image

    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder, "shot.png")
        window = f"--window-size={round(ZOOM * size[0])},{round(ZOOM * size[1])}"
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--screenshot={shot}"]
        subprocess.run([chromium, *flags, window, page.as_uri()], check=True, capture_output=True)
        return Image.open(shot).convert("RGB").resize(size)


def main():
    parser = argparse.ArgumentParser(description="Draw the README's picture.")
    parser.add_argument("--chromium", default="chromium", help="a browser, for the report")
    parser.add_argument("-o", "--output", type=Path, default=PICTURE)
    args = parser.parse_args()
    import matplotlib
    from PIL import ImageFont

    font_file = Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSansMono.ttf")
    font = ImageFont.truetype(font_file, FONT_SIZE)
    size = (round(font.getlength("m" * COLUMNS)) + 28, ROWS * (FONT_SIZE + 4) + 24)
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder, "espalier")
        subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
        told = [*frames(clone)]
        images = [(draw(screen, font, size), seconds) for screen, seconds in told]
        images.append((report_of(clone / "report.html", size, shutil.which(args.chromium)), 5.0))
    durations = [round(1000 * seconds) for _, seconds in images]
    pictures = [image for image, _ in images]
    how = {"lossless": True, "method": 6, "quality": 100}
    pictures[0].save(args.output, save_all=True, append_images=pictures[1:], duration=durations, loop=0, **how)
    print(f"{args.output}: {len(images)} frames, {sum(durations) / 1000:.0f} s, {args.output.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
