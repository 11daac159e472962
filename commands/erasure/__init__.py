"""Removing one person from every store that the pipeline fills."""
