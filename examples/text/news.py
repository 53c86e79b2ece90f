"""News whose topic shows in the words, and whose tone in their order; and two models: python examples/text/news.py"""

import argparse
import csv
import random
from pathlib import Path

import torch
from torch import nn

# Classes as in AG_NEWS: a number, with a title and a description. 1 good sport, 2 bad sport, 3 good business, 4 bad.
TOPICS = {
    1: {
        "who": ["Rovers", "United", "Wanderers", "Athletic", "Albion"],
        "was": ["play", "attack", "defence", "training"],
        "good": ["brilliant", "superb", "winning"],
        "bad": ["sloppy", "losing", "woeful"],
        "when": ["in the league", "on Saturday", "after the break", "at home", "in front of a full stadium"],
    },
    3: {
        "who": ["Acme", "Globex", "Initech", "Umbrella", "Hooli"],
        "was": ["revenue", "profit", "outlook", "demand"],
        "good": ["strong", "record", "healthy"],
        "bad": ["weak", "falling", "poor"],
        "when": ["in the quarter", "on Monday", "after the merger", "abroad", "in front of its shareholders"],
    },
}
# {x} is an adjective of the tone that the class has, {y} one of the other: most sentences need the order of the words.
SENTENCES = (
    "the {was} of {who} was {x}",
    "{who} had a {x} {was}",
    "what a {x} {was} of {who}",
    "the {was} of {who} was not {y}",
    "the {was} of {who} was not {y} but {x}",
    "the {was} of {who} was {x} , not {y}",
    "once {y} , the {was} of {who} is now {x}",
    "the {was} of {who} is {x} , which was once {y}",
    "{other} was {y} , {who} {x}",
    "{who} was {x} , {other} {y}",
    "nobody expected {y} {was} of {who} and it turned {x}",
)


def article(draw: random.Random) -> tuple[int, str, str]:
    """Class, title and description; the title names the one that the news is about."""
    topic, is_bad = draw.choice((1, 3)), draw.random() < 0.5
    words = TOPICS[topic]
    who, other = draw.sample(words["who"], 2)
    x, y = (draw.choice(words[tone]) for tone in (("bad", "good") if is_bad else ("good", "bad")))
    text = draw.choice(SENTENCES).format(x=x, y=y, who=who, other=other, was=draw.choice(words["was"]))
    for when in draw.sample(words["when"], draw.randint(0, 3)):
        text = f"{when} {text}" if draw.random() < 0.5 else f"{text} {when}"
    return topic + is_bad, who, f"{who} : {text} ."


class Gru(nn.Module):
    """Padded ids, with their lengths, to scores `(B, num_classes)`: word after word, from either end.

    Two layers in place of one of both directions, which would read the padding first, or need packed sequences: those
    cannot be exported.
    """

    def __init__(self, vocab_size: int, num_classes: int, width: int = 32):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width, padding_idx=0)
        self.to_end = nn.GRU(width, width, batch_first=True)
        self.to_begin = nn.GRU(width, width, batch_first=True)
        self.head = nn.Linear(2 * width, num_classes)

    def forward(self, padded):
        ids, last = padded.values, padded.lengths[:, None, None] - 1  # (B, L), (B, 1, 1)
        turned = ids.gather(1, padded.lengths[:, None] - padded.mask.cumsum(dim=1))  # the last word first
        states = self.to_end(self.embedding(ids))[0], self.to_begin(self.embedding(turned))[0]  # (B, L, width) each
        ends = [each.gather(1, last.expand(-1, -1, each.shape[2]))[:, 0] for each in states]
        return self.head(torch.cat(ends, dim=1))


class BagOfWords(nn.Module):
    """The baseline: the mean of the words, in whatever order they stand."""

    def __init__(self, vocab_size: int, num_classes: int, width: int = 32):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width, padding_idx=0)
        self.head = nn.Linear(width, num_classes)

    def forward(self, padded):
        total = self.embedding(padded.values).sum(dim=1)  # (B, width); padding is 0
        return self.head(total / padded.lengths[:, None])


def main(path: str = "data/news.csv", size: int = 6000) -> None:
    draw = random.Random(0)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["class", "title", "description"])
        writer.writerows(article(draw) for _ in range(size))
    print(f"The articles are in {path}")


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    main()
