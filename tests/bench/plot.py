# SPDX-License-Identifier: MIT
"""The figures that have a reference, as a picture: an SVG of its own, without a library."""

import math
from html import escape

from figures import spread

ROW, TOP, LEFT, WIDTH, RIGHT = 20, 46, 330, 420, 70
LEAST, MOST = 0.25, 4.0  # ratios; what is beyond stands at the edge
COLOURS = {True: "#1a7f37", False: "#cf222e", None: "#57606a"}
FONT = 'font-family="sans-serif" font-size="12"'


def across(ratio):
    """Where a ratio is, from the left: twice as much is as far as half as much."""
    bounded = min(max(ratio, LEAST), MOST)
    return LEFT + WIDTH * math.log(bounded / LEAST) / math.log(MOST / LEAST)


def text(x, y, words, more=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" {FONT} {more}>{escape(words)}</text>'


def line(x1, y1, x2, y2, more):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" {more}/>'


def grid(height):
    for ratio in (0.25, 0.5, 1, 2, 4):
        yield line(across(ratio), TOP - 8, across(ratio), height - 8, f'stroke="{"#24292f" if ratio == 1 else "#d0d7de"}"')
        yield text(across(ratio), TOP - 14, f"{ratio:g} ×", 'text-anchor="middle"')


def row(figure, y):
    """A point at the ratio of the medians, the quarters of ours around it, and the target's mark."""
    reference = spread(figure.reference)[0]
    middle, low, high = (value / reference for value in spread(figure.ours))
    colour = COLOURS[figure.met]
    limit = figure.at_most if figure.at_most is not None else figure.at_least
    yield text(LEFT - 10, y + 4, figure.name, 'text-anchor="end"')
    yield line(across(low), y, across(high), y, f'stroke="{colour}" stroke-width="3" opacity="0.45"')
    yield f'<circle cx="{across(middle):.1f}" cy="{y}" r="4.5" fill="{colour}"/>'
    if limit is not None:
        yield line(across(limit), y - 7, across(limit), y + 7, f'stroke="{colour}" stroke-width="2"')
    yield text(LEFT + WIDTH + 12, y + 4, f"{middle:.2f} ×", f'fill="{colour}"')


def svg(figures):
    compared = [f for f in figures if f.reference]
    height = TOP + ROW * len(compared) + 10
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + RIGHT}" height="{height}">',
             '<rect width="100%" height="100%" fill="white"/>',
             text(10, 16, "rbdvol beside its references: point, median; bar, middle half of the turns; mark, target "
                          "(green: met, red: missed, grey: none)"), *grid(height)]
    for number, figure in enumerate(compared):
        parts += row(figure, TOP + ROW * number + ROW // 2)
    return "\n".join([*parts, "</svg>"]) + "\n"
