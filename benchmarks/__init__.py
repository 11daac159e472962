"""`make bench`: the pipeline's cost beside its references, in one run, as ratios."""
