"""What the figures have in common: colours, fonts, words for numbers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from roistream.memory.summaries import Summary
from roistream.strategies import REGISTRY

# One (dark, light) pair for each family: Okabe and Ito's hues, the shades far apart in luminance, so that a pair is
# told apart without colour vision and in print. More families than pairs start over; the names below the bars tell.
SHADES = (
    ("#004d80", "#56b4e9"),  # blue
    ("#b04a00", "#f2a154"),  # vermilion, orange
    ("#008a66", "#84dcc2"),  # bluish green
    ("#b8609a", "#ecc0db"),  # reddish purple
    ("#333333", "#a0a0a0"),  # black, grey
    ("#7a6a00", "#ddcc55"),  # yellow
)
INK = "#333333"
GRID = "#dddddd"

# The same text gives the same file: no identifiers made up at random and no local matplotlibrc.
STYLE: list[str | Path | dict[str, Any]] = [
    "default",
    {"svg.fonttype": "none", "svg.hashsalt": "roistream", "hatch.linewidth": 1.2, "font.size": 9},
]


def save_figure(figure: Figure, png: str | Path, svg: str | Path) -> None:
    """Save a figure as PNG and SVG, without anything that changes from one time to the next."""
    figure.savefig(png, format="png", metadata={"Software": None})
    caption = figure.get_suptitle().replace("\n", " ")
    figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None, "Title": caption})


def format_value(value: float) -> str:
    """Round a value for reading: whole with thousands separators, one decimal below 10."""
    return f"{value:.1f}" if round(value, 1) < 10 else f"{value:,.0f}"


def strategy_colour(name: str) -> str:
    """Give the colour of a strategy: a hue for its family, a shade for its place in the family.

    Hue and shade come from the registry, not from the strategies of one figure, so a strategy keeps its colour.
    """
    families = list(dict.fromkeys(strategy.family for strategy in REGISTRY.values()))
    family = REGISTRY[name].family
    members = [strategy.name for strategy in REGISTRY.values() if strategy.family == family]
    dark, light = (to_rgb(colour) for colour in SHADES[families.index(family) % len(SHADES)])
    share = members.index(name) / max(len(members) - 1, 1)
    red, green, blue = ((1 - share) * low + share * high for low, high in zip(dark, light, strict=True))
    return to_hex((red, green, blue))


def tick_labels(summaries: Sequence[Summary]) -> list[str]:
    """Give the display names, broken after the family; with the number of jobs when that differs."""
    labels = [REGISTRY[summary.strategy].label.replace(", ", "\n") for summary in summaries]
    if len({summary.n_jobs for summary in summaries}) > 1:
        labels = [f"{label}\n({count(s.n_jobs, 'job')})" for label, s in zip(labels, summaries, strict=True)]
    return labels


def count(number: int, noun: str) -> str:
    """Give a number with its noun, in the plural where it belongs."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def count_range(numbers: Sequence[int], noun: str) -> str:
    """Give numbers with their noun: the one that they all are, or the least and the greatest."""
    least, greatest = min(numbers), max(numbers)
    return count(greatest, noun) if least == greatest else f"{least:,} to {greatest:,} {noun}s"
