"""Write the digits of data/digits as folders of images: python examples/transfer_learning/make_digits.py

data/transfer/source has the digits 0 to 4. Of 5 to 9, data/transfer/few has ten images a class to learn from, and
data/transfer/rest all others.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

FOLDER = Path("data/transfer")
NUM_FEW = 10  # a class


def main(folder=FOLDER, most=None):
    """Write the three folders; `most` limits the images of each class, for a quick try."""
    with np.load(Path(__file__).resolve().parents[2] / "data/digits/digits.npz") as file:
        images, labels = file["images"], file["labels"]
    for digit in range(10):
        for index, image in enumerate(images[labels == digit][:most]):
            part = "source" if digit < 5 else "few" if index < NUM_FEW else "rest"
            path = Path(folder) / part / str(digit) / f"{index:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.astype(np.uint8) * 15).resize((32, 32), Image.Resampling.BILINEAR).save(path)


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    main()
    print(f"The images are in {FOLDER}")
