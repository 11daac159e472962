"""What Prefect itself costs: a flow that does nothing, with all the imports of `flows/department_sync.py`.

python benchmarks/empty.py          started as this project's scripts start
python benchmarks/empty.py --usual  started as Prefect starts a flow
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    if sys.argv[1:] != ["--usual"]:
        from commands.startup import begin

        begin(__file__)

from prefect import flow

import flows.department_sync  # noqa: F401 - for its imports
from commands.flow_script import main


@flow(name="empty")
def empty() -> None:
    """Do nothing."""


if __name__ == "__main__":
    if sys.argv[1:] == ["--usual"]:
        empty()
    else:
        raise SystemExit(main(empty))
