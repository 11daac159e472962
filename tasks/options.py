"""What an operator may choose about a load."""

import math
import re
from dataclasses import dataclass
from typing import Literal, Self

from tasks.errors import ConfigError

SchemaContract = Literal["ignore", "evolve", "fail"]
OnDeparture = Literal["keep", "mark", "delete"]
_LIMIT = re.compile(r"(?P<number>\d+(\.\d+)?)(?P<percent>\s*%)?")


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """The options of a load; the defaults are the safe ones."""

    schema_contract: SchemaContract = "ignore"
    max_rejected: str | None = None
    """Rows, or a percentage; None is 1 %, at least 10."""
    on_departure: OnDeparture = "keep"
    max_departures: str = "20%"
    max_emptied: str | None = None
    """Stored values of a column that may become null, or a percentage of them; None is 50 %, at least 10."""
    history: bool = False
    fingerprints: bool = True
    """Do not stage records that the table is known to hold; the result is the same."""
    replay: bool = False
    dry_run: bool = False
    show_values: bool = False

    def checked(self, problems: list[str]) -> Self:
        """Itself; a malformed limit goes to `problems`."""
        for name in ("max_rejected", "max_departures", "max_emptied"):
            limit = getattr(self, name)
            try:
                allowed(limit or "0", 0)
            except ConfigError as error:
                problems.append(f"{name}: {error}")
        return self


def allowed(limit: str, rows: int) -> int:
    """How many of `rows` a limit allows, given as a number of rows or as a percentage.

    >>> allowed("500", 7), allowed("5%", 210), allowed("0%", 50)
    (500, 10, 0)
    """
    match = _LIMIT.fullmatch(limit.strip())
    if match is None or not match["percent"] and "." in match["number"]:
        raise ConfigError(f"expected a number of rows such as 500 or a percentage such as 5%, found {limit!r}.")
    number = float(match["number"])
    return math.floor(rows * number / 100) if match["percent"] else int(number)


def allowed_rejects(limit: str | None, rows: int) -> int:
    """How many of `rows` may be rejected; without a limit 1 %, at least 10."""
    return max(10, allowed("1%", rows)) if limit is None else allowed(limit, rows)


def allowed_emptied(limit: str | None, values: int) -> int:
    """How many of a column's `values` may become null; without a limit 50 %, at least 10."""
    return max(10, allowed("50%", values)) if limit is None else allowed(limit, values)
