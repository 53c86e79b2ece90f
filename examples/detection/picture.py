"""A picture of what a checkpoint finds: python -m examples.detection.picture CHECKPOINT [PICTURE]"""

import argparse

import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torchvision.transforms.functional import to_pil_image
from torchvision.utils import draw_bounding_boxes, make_grid

from espalier.checkpoints.file import load_checkpoint
from espalier.errors import UserError
from examples.detection.data import NAMES, Shapes
from examples.detection.model import Detector, found_in

COLOURS = ("orangered", "lime", "deepskyblue")  # of the boxes that are found


def draw(images, targets, output, path):
    """Write a picture of images with the true boxes in white and the found ones in the colour of their class."""
    boxes, labels, image, _ = found_in(output)
    drawn = []
    for index, (each, target) in enumerate(zip(images, targets, strict=True)):
        large = F.interpolate((each.clamp(0, 1) * 255).byte()[None], scale_factor=3)[0]
        mine = image == index
        colours = [COLOURS[label] for label in labels[mine]]
        large = draw_bounding_boxes(large, 3 * boxes[mine], colors=colours, width=3)
        drawn.append(draw_bounding_boxes(large, 3 * target["boxes"], colors="white"))
    with_legend(to_pil_image(make_grid(torch.stack(drawn), nrow=4))).save(path)


def with_legend(picture):
    """The picture below a line that says which colour is what."""
    font, x = ImageFont.load_default(16), 8
    whole = Image.new("RGB", (picture.width, picture.height + 26))
    whole.paste(picture, (0, 26))
    line = ImageDraw.Draw(whole)
    for name, colour in (("true box", "white"), *zip(NAMES, COLOURS, strict=True)):
        line.text((x, 4), name, colour, font)
        x += round(line.textlength(name, font)) + 20
    return whole


def picture_of(checkpoint: str, path: str) -> None:
    """Write what a checkpoint finds in eight new images."""
    model = Detector().eval()
    model.load_state_dict(load_checkpoint(checkpoint)["state_dict"])
    images, targets = zip(*(Shapes(first=10**6)[index] for index in range(8)), strict=True)
    draw(images, targets, model(torch.stack(images)), path)
    print(f"The picture is {path}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", help="such as saved/models/Boxes/RUN/model_best.pth")
    parser.add_argument("picture", nargs="?", default="boxes.png", help="the file to write")
    arguments = parser.parse_args()
    try:
        picture_of(arguments.checkpoint, arguments.picture)
    except (UserError, OSError, RuntimeError) as error:  # no checkpoint, that of another model, or no place to write
        parser.exit(2, f"{error}\n")
