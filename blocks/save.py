"""`python -m blocks.save`: saves the environment's credentials as blocks, see `commands.save_blocks`."""

from commands.save_blocks import main

if __name__ == "__main__":
    raise SystemExit(main())
