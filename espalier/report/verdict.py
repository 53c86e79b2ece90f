"""Is A better than B, in sentences for a paper and as a table."""

from __future__ import annotations

import math
import re

from espalier.errors import counted
from espalier.report.caveats import advice, caveats
from espalier.report.sides import Side
from espalier.report.table import Table, as_csv, as_latex, as_markdown, latex
from espalier.report.versus import Finding, Versus

NOTHING = "Nothing can be said of which is better: there is one run of a side, and no test samples to compare."

_IN_SENTENCES = ("test", "p", "better")  # columns that a narrow table does without
_OVER = {"samples": "the test samples", "seeds": "seeds"}


def heading(side: Side) -> str:
    """`A: width=8, 3 runs of seeds 1, 2, 3`."""
    seeds = f"seed{'' if len(side.seeds) == 1 else 's'} {', '.join(side.seeds)}"
    return f"{side.name}: {side.label}, {counted(len(side.runs), 'run')} of {seeds}"


def sentences(found: Versus) -> list[str]:
    """One for each metric, which ends with what the data say."""
    first, second = (side.name for side in found.sides)
    is_mean = any(len(side.runs) > 1 for side in found.sides)
    lines = []
    for metric, findings in found.by_metric().items():
        *means, difference = _numbers(findings[0])
        told = (f"{first}'s {'mean ' if is_mean else ''}{metric} is {means[0]}, {second}'s {means[1]}; the difference "
                f"of {difference} ")  # fmt: skip
        if len(findings) == 1:
            told += f"{interval(findings[0])} ({_how(findings[0])}) {_judged(findings[0])}"
        else:
            told += ", and ".join(f"{_judged(each)} over {_OVER[each.over]} ({interval(each)}, {_how(each)})"
                                  for each in findings)  # fmt: skip
        lines.append(f"{told}: {_conclusion(found, metric)}")
    return lines or [NOTHING]


def winner(found: Versus, metric: str) -> str | None:
    """`A` or `B`, where every test of a metric says so; None where the data do not say.

    Of a metric of which it is not known whether high or low is better, the side with the higher value.
    """
    findings = found.by_metric()[metric]
    signs = {each.difference.value > 0 for each in findings}
    if len(signs) > 1 or not all(each.is_significant for each in findings):
        return None
    return found.sides[0 if signs == {found.rule(metric) != "min"} else 1].name


def _conclusion(found: Versus, metric: str) -> str:
    better = "better" if found.rule(metric) else "higher"
    name = winner(found, metric)
    if name is None:
        return f"these data do not say which is {better}."
    of_training = any(each.over == "seeds" for each in found.by_metric()[metric])
    return f"{name} is {better}." if of_training else f"the trained model of {name} is {better}."


def _how(each: Finding) -> str:
    ps = f"{each.name} {p_shown(each.difference.p)}"
    if each.holm != each.difference.p:
        ps += f", by Holm {p_shown(each.holm)}"
    if each.over == "samples":
        return f"95 % bootstrap over {each.numbers[0]:,} test samples, {ps}"
    return f"95 % t interval over {_number_of(each)}, {ps}{_permuted(each)}"


def _number_of(each: Finding) -> str:
    """`359 samples`, `5 pairs of runs`, `3 and 5 runs`."""
    if each.over == "samples":
        return counted(each.numbers[0], "sample")
    return f"{each.numbers[0]} pairs of runs" if each.is_paired else "{} and {} runs".format(*each.numbers)


def _permuted(each: Finding) -> str:
    if each.permuted is None:
        return ""
    p, ways = each.permuted.p, each.permuted.ways
    least = 2 if each.numbers[0] == each.numbers[1] else 1  # A and B exchanged is as large, where that is possible
    is_least = ways is not None and p <= least / ways
    return f", permutation {p_shown(p)}{', the least that so few runs allow' if is_least else ''}"


def _judged(each: Finding) -> str:
    return f"is {'' if each.is_significant else 'not '}significant"


def interval(each: Finding) -> str:
    """`[-0.001, 0.015]`, with two digits of its width."""
    low, high = each.difference.interval
    digits = _digits(low, high)
    return f"[{low:.{digits}f}, {high:.{digits}f}]"


def _numbers(each: Finding) -> list[str]:
    """Both means and their difference, with a digit more than the interval, so that they go together."""
    digits = _digits(*each.difference.interval) + 1
    return [f"{value:.{digits}f}" for value in (*each.means, each.difference.value)]


def _digits(low: float, high: float) -> int:
    """Places behind the point by which half an interval has two digits."""
    half = (high - low) / 2
    return 4 if half <= 0 else min(12, max(0, 1 - math.floor(math.log10(half))))


def p_shown(p: float) -> str:
    """`p = 0.12`, and of small ones that they are."""
    return f"p = {p:.2g}" if p >= 0.001 else "p < 0.001"


def as_table(found: Versus) -> Table:
    """A row for each test."""
    rows = []
    for metric, findings in found.by_metric().items():
        for each in findings:
            ps = [p_shown(p).removeprefix("p ").removeprefix("= ") for p in (each.difference.p, each.holm)]
            rows.append([metric, _number_of(each), *_numbers(each), interval(each),
                         each.name, *ps, winner(found, metric) or "-"])  # fmt: skip
    names = [side.name for side in found.sides]
    return Table(["metric", "over", *names, "difference", "95 %", "test", "p", "p (Holm)",
                  "better"], rows)  # fmt: skip


# Forms


def versus_as_text(found: Versus) -> str:
    """For a terminal."""
    parts = ["\n".join(map(heading, found.sides)), "\n".join(sentences(found)),
             "\n".join(f"- {each}" for each in caveats(found)), "\n".join(advice(found))]  # fmt: skip
    return "\n\n".join(part for part in parts if part)


def versus_as_csv(found: Versus) -> str:
    """A row for each test, numbers in full."""
    rows = [[metric, each.over, *each.numbers, *each.numbers[: 2 - len(each.numbers)], *each.means,
             each.difference.value, *each.difference.interval, each.name, each.difference.p, each.holm,
             winner(found, metric) or ""]
            for metric, findings in found.by_metric().items() for each in findings]  # fmt: skip
    names = [side.name for side in found.sides]
    columns = ["metric", "over", *(f"number of {name}" for name in names), *names, "difference", "low", "high", "test",
               "p", "p by Holm", "better"]  # fmt: skip
    return as_csv(Table(columns, [[str(cell) for cell in row] for row in rows]))


def versus_as_markdown(found: Versus) -> str:
    """Sentences, table and caveats."""
    lines = [*map(heading, found.sides), *sentences(found)]
    notes = "".join(f"- {each}\n" for each in caveats(found))
    return "\n\n".join([*lines, as_markdown(as_table(found)), notes]).rstrip() + "\n"


def versus_as_latex(found: Versus) -> str:
    """The sentences as paragraphs, and a table as wide as a page; caveats as comments."""
    notes = "".join(f"% {each}\n" for each in caveats(found))
    full = as_table(found)
    kept = [index for index, column in enumerate(full.columns) if column not in _IN_SENTENCES]
    table = Table([full.columns[index] for index in kept], [[row[index] for index in kept] for row in full.rows])
    sentence = "\n\n".join(map(latex, [*map(heading, found.sides), *sentences(found)]))
    return notes + re.sub(r"(?<!\w)-(?=\d)", "$-$", f"{sentence}\n\n{as_latex(table)}")
