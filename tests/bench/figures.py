# SPDX-License-Identifier: MIT
"""What was measured: a figure of rbdvol's beside that of a reference from the same run, and the target for their ratio."""

import statistics
from dataclasses import dataclass, field


def spread(values):
    """The median, and the quarters around it."""
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return middle, low, high


@dataclass
class Figure:
    name: str
    unit: str
    ours: list
    reference: list = field(default_factory=list)
    against: str = "the floor"
    at_most: float = None  # for the ratio, or for the figure itself where there is no reference
    at_least: float = None

    @property
    def value(self):
        ours = spread(self.ours)[0]
        return ours / spread(self.reference)[0] if self.reference else ours

    @property
    def met(self):
        """None: there is no target."""
        if self.at_most is not None:
            return self.value <= self.at_most
        return self.value >= self.at_least if self.at_least is not None else None

    @property
    def target(self):
        limit = self.at_most if self.at_most is not None else self.at_least
        if limit is None:
            return ""
        return f"{'≤' if self.at_most is not None else '≥'} {limit:g}{' ×' if self.reference else ' ' + self.unit}"

    def row(self):
        def text(values):
            middle, low, high = spread(values)
            return f"{middle:.4g} ({low:.4g} to {high:.4g})"

        ratio = f"{self.value:.2f} ×" if self.reference else ""
        met = {None: "", True: "yes", False: "NO"}[self.met]
        return [f"{self.name}, {self.unit}", text(self.ours), f"{text(self.reference)}, {self.against}" if self.reference else "",
                ratio, self.target, met]


HEAD = ["", "rbdvol", "reference", "ratio", "target", "met"]


def table(figures):
    """As Markdown."""
    lines = [HEAD, ["---"] * len(HEAD), *(figure.row() for figure in figures)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
