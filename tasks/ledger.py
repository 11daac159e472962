"""`python -m tasks.ledger`: the last loads, see `commands.loads`."""

from commands.loads import main

if __name__ == "__main__":
    raise SystemExit(main())
