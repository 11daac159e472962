"""`python -m tasks.check`: every credential and right is tried, see `commands.check`."""

from commands.check import main

if __name__ == "__main__":
    raise SystemExit(main())
