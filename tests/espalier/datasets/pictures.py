"""Images made by the tests."""

import io

import numpy as np
from PIL import Image


def picture(seed=0, height=16, width=20, channels=3):
    """A smooth picture with colours of its own, as a PIL image."""
    steps = np.add.outer(np.arange(height) * (3 + seed % 5), np.arange(width) * (2 + seed % 3))
    values = np.stack([(steps * (1 + c) + 37 * seed) % 256 for c in range(channels)], -1).astype(np.uint8)
    return Image.fromarray(values.squeeze(-1) if channels == 1 else values)


def encoded(image, kind, **options):
    """The bytes of a file of this kind."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def write_folder(root, counts, ending=".png", **options):
    """A folder with so many pictures of each class."""
    seed = 0
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for number in range(count):
            picture(seed, **options).save(root / name / f"{number}{ending}")
            seed += 1
    return root
