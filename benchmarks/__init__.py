"""`make bench`: the pipeline's cost compared with its references, in one run, as ratios."""
