"""From the LMS's keys to the table's columns: the stream's names, and the user's own over them."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tasks.errors import ConfigError
from tasks.streams import MEMBERS, Stream

SECRET_KEYS = frozenset({"password"})

_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def snake_case(key: str) -> str:
    """
    >>> snake_case("ccEmailAddresses"), snake_case("externalID"), snake_case("isAdmin")
    ('cc_email_addresses', 'external_id', 'is_admin')
    """
    return _WORD_START.sub("_", key).lower()


@dataclass(frozen=True)
class ColumnNames:
    """How keys become columns: the API's names, the user's own over them, and what is left out.

    A key inside a nested object is written with dots, `contract.startDate`, and joined with `_`.
    """

    renamed: Mapping[str, str] = field(default_factory=dict)
    excluded: frozenset[str] = frozenset()
    stream: Stream = MEMBERS

    def __post_init__(self) -> None:
        key, column = self.stream.id_key, self.stream.key_column
        if self.renamed.get(key, column) != column or self.excluded & {key, column}:
            raise ConfigError(f"the LMS's `{key}` must stay the column {column}: the table is keyed on it.")

    def column(self, key: str) -> str | None:
        """The column of one key, or None if it is left out."""
        if key in self.stream.left_out and key not in self.renamed:
            return None
        if key in self.renamed:
            name = self.renamed[key]
        elif key in self.stream.names:
            name = self.stream.names[key]
        else:
            name = "_".join(snake_case(part) for part in key.split("."))
        return None if name in SECRET_KEYS or {key, name} & self.excluded else name

    def columns(self, keys: Iterable[str]) -> dict[str, str]:
        """Key to column for the keys that are kept, in order.

        Raises:
            ConfigError: two keys would share one column.
        """
        kept = {key: name for key in keys if (name := self.column(key)) is not None}
        taken: dict[str, str] = {}
        for key, name in kept.items():
            if taken.setdefault(name, key) != key:
                raise ConfigError(
                    f"the LMS's keys {taken[name]!r} and {key!r} would both become the column {name!r}. "
                    "Rename one with LMS_COLUMN_NAMES, or leave one out with LMS_EXCLUDE_COLUMNS."
                ).about_one_scope()
        return kept
