"""Checks an object's metadata: an object with any value that no extract writes is rejected."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from tasks.errors import ObjectInvalid
from tasks.streams import MEMBERS, STREAMS, Scope

FORMAT = "1"
WRITTEN_BY = {"format": FORMAT, "kind": "full"}
GUID = r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
# Narrower than fromisoformat, which since Python 3.11 takes most of ISO 8601, a date alone among it.
TIMESTAMP = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})"
LONGEST_SHOWN = 100


def lower_names(metadata: dict[str, str]) -> dict[str, str]:
    """The metadata by lower-case names; the values of one name in two spellings joined, as HTTP joins them.

    >>> lower_names({"Rows": "3", "rows": "4", "kind": "full"})
    {'rows': '3,4', 'kind': 'full'}
    """
    found: dict[str, str] = {}
    for name, value in metadata.items():
        found[name.lower()] = f"{found[name.lower()]},{value}" if name.lower() in found else value
    return found


def checked_metadata(source: str, metadata: dict[str, str]) -> dict[str, str]:
    """The values of an extract's metadata in their normal form: lower case, UTC.

    Raises:
        ObjectInvalid: names every value that no extract writes, as it was found.
    """
    found = {"stream": MEMBERS.name, **metadata}  # which an object that names no stream means
    stream = STREAMS.get(found["stream"])
    if stream is None or any(found.get(name) != value for name, value in WRITTEN_BY.items()):
        other = ", ".join(f"{name} {shown(found.get(name))}" for name in (*WRITTEN_BY, "stream"))
        expected = ", ".join(f"{name} {value}" for name, value in WRITTEN_BY.items())
        raise ObjectInvalid(
            f"{source}: expected {expected}, stream {' or '.join(STREAMS)}; found {other}. "
            "Nothing was loaded. Load it with the version of this project that published it."
        )
    checks = {stream.scope_metadata: A_GUID, **METADATA}
    values = {name: normal(found.get(name, "")) for name, (normal, _) in checks.items()}
    problems = [
        f"expected {name} to be {checks[name][1]}, found {shown(found.get(name))}"
        for name, value in values.items()
        if value is None
    ]
    if problems:
        raise ObjectInvalid(
            f"{source}: its metadata is not what an extract writes: {'; '.join(problems)}. Nothing was loaded; extract "
            "it again, or upload the file without metadata to load it as a plain file."
        )
    return {"stream": stream.name, **{name: value for name, value in values.items() if value is not None}}


def is_ours(metadata: Mapping[str, str]) -> bool:
    """Whether an extract wrote it; rows, sha256, kind and format are names that other tools use too."""
    return not metadata.keys().isdisjoint({"snapshot-at", *(stream.scope_metadata for stream in STREAMS.values())})


def scope_of(checked: Mapping[str, str]) -> Scope:
    """The scope that checked metadata names."""
    stream = STREAMS[checked["stream"]]
    return Scope(stream, checked[stream.scope_metadata])


def lower_case(pattern: str) -> Callable[[str], str | None]:
    """A check that returns a matching text in lower case, and None for any other."""
    return lambda text: text.lower() if re.fullmatch(pattern, text) else None


def utc_time(text: str) -> str | None:
    """A timestamp with its offset, in UTC; None if it has no offset or is no moment that can be stored.

    >>> utc_time("2026-03-01T02:00:00+05:30")
    '2026-02-28T20:30:00+00:00'
    >>> utc_time("2026-03-01T02:00:00"), utc_time("0001-01-01T00:00:00+05:00")
    (None, None)
    """
    if not re.fullmatch(TIMESTAMP, text):
        return None
    try:
        return datetime.fromisoformat(text).astimezone(UTC).isoformat()
    except (ValueError, OverflowError):  # no such day or hour; the first or last day of all time, in another zone
        return None


def shown(value: str | None) -> str:
    """A value that somebody else wrote, safe in a message: escaped, and at most 100 characters long."""
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 1]}…"


A_GUID = (lower_case(GUID), "a GUID like 5b0c9f5e-3d0a-4f0b-9a53-0a4f6a0c7d11")
METADATA = {
    "snapshot-at": (utc_time, "a time with its offset like 2026-03-01T02:00:00+00:00"),
    "rows": (lower_case(r"0|[1-9][0-9]{0,17}"), "a count like 3000"),  # fits bigint
    "sha256": (lower_case(r"[0-9a-fA-F]{64}"), "64 hexadecimal digits"),
}
"""What an extract says about its content: how each value is checked, and what a message calls it."""
