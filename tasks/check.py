"""`python -m tasks.check`: tests every credential and permission, see `commands.check`."""

from commands.check import main

if __name__ == "__main__":
    raise SystemExit(main())
