"""One Prefect block per credential: `prefect block register -m blocks`, `python -m blocks.save`."""

from blocks.alerts import AlertTopic
from blocks.lms import LmsAccount

__all__ = ["AlertTopic", "LmsAccount"]
