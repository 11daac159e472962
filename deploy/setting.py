"""For prefect.yaml's build steps: print a variable of the environment, else of the directory's `.env`, else a default.

python3 deploy/setting.py DEPLOY_CRON "0 2 * * *"
python3 deploy/setting.py --is-set COURSE_ID
"""

import os
import sys

from dotenv import dotenv_values


def setting(name: str, default: str) -> str:
    """The value; an empty one counts as absent."""
    return os.environ.get(name) or dotenv_values(".env", interpolate=False).get(name) or default


if __name__ == "__main__":
    if sys.argv[1] == "--is-set":
        sys.stdout.write("true\n" if setting(sys.argv[2], "") else "false\n")
    else:
        sys.stdout.write(setting(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "") + "\n")
