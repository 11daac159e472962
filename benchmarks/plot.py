"""Draws cost against size and against the share of changed rows as an SVG; runs in the references' environment.

Reads {"sizes": {"label": [[members, seconds], …]}, "shares": {"label": [[percent, seconds], …]}, "members": …}.
"""

import json
import sys

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "department-members"
from matplotlib import pyplot

drawn = json.load(sys.stdin)
figure, (sizes, shares) = pyplot.subplots(1, 2, figsize=(12, 4.5))
for axes, lines in ((sizes, drawn["sizes"]), (shares, drawn["shares"])):
    for label, points in lines.items():
        axes.plot(*zip(*points, strict=True), marker="o", label=label)
    axes.grid(which="both", alpha=0.25)
    axes.legend()
sizes.set(xscale="log", yscale="log", xlabel="members", ylabel="seconds, all new")
shares.set(xlabel=f"percent of {drawn['members']:,} rows that have changed", ylabel="seconds, load alone", ylim=0)
figure.tight_layout()
figure.savefig(sys.argv[1], metadata={"Date": None})
