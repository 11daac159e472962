"""Draws {"label": [[members, seconds], …]} from standard input as an SVG; runs in the references' environment."""

import json
import sys

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "department-members"
from matplotlib import pyplot

figure, axes = pyplot.subplots(figsize=(8, 4.5))
for label, points in json.load(sys.stdin).items():
    axes.plot(*zip(*points, strict=True), marker="o", label=label)
axes.set(xscale="log", yscale="log", xlabel="members", ylabel="seconds, all new")
axes.grid(which="both", alpha=0.25)
axes.legend()
figure.tight_layout()
figure.savefig(sys.argv[1], metadata={"Date": None})
