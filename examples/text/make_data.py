"""News whose topic shows in the words, and whose tone in their order: python -m examples.text.make_data"""

import argparse
import csv
import random
from pathlib import Path

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
