"""Write letters and digits as folders of images: python -m examples.transfer_learning.make_data

Each is of some colour on another, of some size and place, in noise. data/transfer/letters has 26 printed letters,
turned, slanted, thick or thin, as coarse as the written digits of data/digits. Of these, data/transfer/few has thirty
of each to learn from, and data/transfer/rest fifty others.
"""

import argparse
import string
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

FOLDER = Path("data/transfer")
NUM_LETTERS, NUM_FEW, NUM_REST = 100, 30, 50  # a class
SIZE = 32


def letter(character: str, draw: np.random.Generator) -> Image.Image:
    """A letter that fills the height of 8 by 8 pixels, as the digits do."""
    image = Image.new("L", (128, 128))
    width, slant, turn = int(draw.integers(1, 5)), draw.uniform(-0.4, 0.4), draw.uniform(-15, 15)
    ImageDraw.Draw(image).text((64, 64), character, 255, ImageFont.load_default(64), "mm", stroke_width=width)
    image = image.transform(image.size, Image.Transform.AFFINE, (1, slant, -64 * slant, 0, 1, 0)).rotate(turn)
    image = image.crop(image.getbbox())
    image = image.resize((round(min(image.width * draw.uniform(0.6, 1.0) * 64 / image.height, 64)), 64))
    square = Image.new("L", (64, 64))
    square.paste(image, ((64 - image.width) // 2, 0))
    return square.resize((8, 8), Image.Resampling.BOX)


def scene(shape: Image.Image, draw: np.random.Generator) -> Image.Image:
    """The shape in a colour, on another one, somewhere in a noisy image."""
    size = int(draw.integers(22, SIZE + 1))
    mask = Image.new("L", (SIZE, SIZE))
    left, top = draw.integers(0, SIZE - size + 1, 2)
    mask.paste(shape.resize((size, size), Image.Resampling.BILINEAR), (int(left), int(top)))
    ink, paper = draw.uniform(0, 255, (2, 3))
    while abs(ink.mean() - paper.mean()) < 90:
        ink, paper = draw.uniform(0, 255, (2, 3))
    share = np.asarray(mask)[..., None] / 255  # (SIZE, SIZE, 1)
    pixels = share * ink + (1 - share) * paper + draw.normal(0, 10, (SIZE, SIZE, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def main(folder: Path = FOLDER, num_letters: int = NUM_LETTERS, num_rest: int = NUM_REST) -> None:
    draw = np.random.default_rng(0)
    with np.load("data/digits/digits.npz") as file:
        digits, labels = file["images"], file["labels"]
    shapes = [("letters", each, letter(each, draw)) for each in string.ascii_uppercase for _ in range(num_letters)]
    for digit in range(10):
        chosen = [Image.fromarray(each.astype(np.uint8) * 15) for each in digits[labels == digit]]
        shapes += [("few", str(digit), each) for each in chosen[:NUM_FEW]]
        shapes += [("rest", str(digit), each) for each in chosen[NUM_FEW : NUM_FEW + num_rest]]
    for index, (part, name, shape) in enumerate(shapes):
        path = Path(folder) / part / name / f"{index:05}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        scene(shape, draw).save(path)


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    main()
    print(f"The images are in {FOLDER}")
