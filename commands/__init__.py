"""Command lines: a flow as a script, the check of all settings, the last loads."""
