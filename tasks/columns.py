"""From the LMS's keys to the table's columns: the stream's names, and the user's own over them."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

from tasks.errors import ConfigError
from tasks.streams import MEMBERS, STREAMS, Stream

SECRET_KEYS = frozenset({"password"})
DEPARTED_AT = "departed_at"
REJECT_COLUMNS = ("rejected_line", "rejected_column", "rejected_reason")
"""The first columns of a reject file; they may stay in a corrected file."""
RESERVED = frozenset({DEPARTED_AT, *REJECT_COLUMNS})
"""Columns that the load itself writes or reads; an LMS key with such a name becomes `lms_…`."""

# `date` as a word of the snake-case name: dates cannot be hashed, since the load compares them
_DATE = re.compile(r"(^|[_.])date([_.]|$)")
LONGEST_HASHED = 1500
"""Characters of the hashed names in an object's metadata, for which S3 has 2 KB in all."""
# Before a capital that follows a small letter or a digit (isAdmin), and before the last of several (IDNumber).
_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def snake_case(key: str) -> str:
    """
    >>> snake_case("ccEmailAddresses"), snake_case("externalID"), snake_case("isAdmin")
    ('cc_email_addresses', 'external_id', 'is_admin')
    """
    return _WORD_START.sub("_", key).lower()


def spellings(name: str) -> set[str]:
    """The forms in which a custom field may be named: in any letter case, with `_` for blanks and dashes.

    >>> spellings("Badge No") & spellings("badge_no")
    {'badge_no'}
    """
    # NFC: the same accented letter may be written as one character or as two
    plain = re.sub(r"[\s-]+", "_", unicodedata.normalize("NFC", name))
    return {plain.lower(), snake_case(plain)}


def prefixes(key: str) -> list[str]:
    """A dotted key, preceded by the objects that contain it.

    >>> prefixes("phone.home.area")
    ['phone', 'phone.home', 'phone.home.area']
    """
    parts = key.split(".")
    return [".".join(parts[: length + 1]) for length in range(len(parts))]


@dataclass(frozen=True)
class ColumnNames:
    """How keys become columns: the API's names, the user's own over them, what is left out, what is hashed.

    A key inside a nested object is written with dots, `contract.startDate`, and joined with `_`.
    """

    renamed: Mapping[str, str] = field(default_factory=dict)
    excluded: frozenset[str] = frozenset()
    stream: Stream = MEMBERS
    hashed: frozenset[str] = frozenset()
    """A value among the custom fields is named `custom_fields.KEY`; the object's own name means all of them."""

    def __post_init__(self) -> None:
        for name in self.renamed.values():
            if not name or not name.isprintable() or name in RESERVED:
                raise ConfigError(
                    f"{name!r} cannot be a CSV column: it is empty, reserved or contains unprintable characters."
                )
        for name in self.excluded | self.hashed:
            if not re.fullmatch(r"\w[\w. -]*", name):
                raise ConfigError(f"{name!r} is not a valid key or column name; separate names with commas.")
        key, column = self.stream.id_key, self.stream.key_column
        if self.renamed.get(key, column) != column or self.excluded & {key, column}:
            raise ConfigError(f"the LMS key `{key}` must be kept as the column {column}, since it is the table's key.")
        if len(self.hashed_text) > LONGEST_HASHED:
            raise ConfigError("too many columns to hash; name custom_fields, which means all custom fields.")
        for name in self.hashed:
            kept = any(self._spelled(each, {name}) for each in (key, self.stream.scope_key))
            if kept or _DATE.search(snake_case(name)) and not self.custom_field(name):
                raise ConfigError(
                    f"{name!r} cannot be hashed: the load needs the real keys, department or course ids, and dates. "
                    "If it must not be stored, leave it out with LMS_EXCLUDE_COLUMNS."
                )

    def column(self, key: str) -> str | None:
        """The column of one key, or None if it is left out, or is inside an object that is."""
        name = self._name(key)
        if self.left_out(key) or self.excluding(key) or name in SECRET_KEYS:
            return None
        return name

    def left_out(self, key: str) -> bool:
        """Whether the stream leaves out a key, or an object around it, that the user's own names do not name."""
        defaults = {snake_case(each) for each in self.stream.left_out}
        # the outermost name decides: a user's own name for an object keeps it though the stream leaves it out
        decisive = next((p for p in prefixes(key) if p in self.renamed or snake_case(p) in defaults), None)
        return decisive is not None and decisive not in self.renamed

    def _name(self, key: str) -> str:
        if key in self.renamed:
            return self.renamed[key]
        if key in self.stream.names:
            return self.stream.names[key]
        name = "_".join(snake_case(part) for part in key.split(".")) or "unnamed"
        return f"lms_{name}" if name in RESERVED else name

    def excluding(self, key: str) -> set[str]:
        """The exclusions that leave a key out: its own, or that of an object that contains it; in any spelling."""
        return self._spelled(key, self.excluded)

    def hashing(self, key: str) -> set[str]:
        """The configured names that make a key's values hashed: its own name, or that of an object that contains it."""
        return self._spelled(key, self.hashed)

    def hashes_field(self, field_name: str) -> bool:
        """Whether the values under this name among the custom fields are hashed."""
        own = [each for each in map(self.custom_field, self.hashed) if each]
        return self._hashes_all_fields or any(spellings(field_name) & spellings(each) for each in own)

    @property
    def hashes_fields(self) -> bool:
        """Whether any value among the custom fields is hashed."""
        return self._hashes_all_fields or any(map(self.custom_field, self.hashed))

    @property
    def _hashes_all_fields(self) -> bool:
        return self.stream.custom_fields is not None and bool(self.hashing(self.stream.custom_fields))

    @property
    def hashed_text(self) -> str:
        """The configured names, as an object's metadata can hold them.

        >>> ColumnNames(hashed=frozenset({"emailAddress", "custom_fields.Größe"})).hashed_text
        'custom_fields.Gr%C3%B6%C3%9Fe,emailAddress'
        """
        # S3 sends metadata in HTTP headers, which are ASCII
        return quote(",".join(sorted(self.hashed)), safe=" ,.")

    def hashed_no_longer(self, text: str) -> list[str]:
        """Those of the names in an earlier `hashed_text` whose values are now to be written as they are."""
        return [name for name in unquote(text).split(",") if name and not self._conceals(name)]

    def _conceals(self, name: str) -> bool:
        """Whether no value under this name is written: each is hashed or left out, or is another stream's."""
        if own := self.custom_field(name):
            custom = self.stream.custom_fields
            return custom is None or self.column(custom) is None or self.hashes_field(own)
        known = [key for key in self._known([]) if self._spelled(key, {name})]
        keys = [key for key in known if key in self.stream.keys] if known else [name]
        return all(self.column(key) is None or self.hashing(key) for key in keys)

    def unmatched(self, keys: Iterable[str]) -> list[str]:
        """Exclusions that match none of these keys and no known key of any stream."""
        return sorted(self.excluded.difference(*map(self.excluding, self._known(keys))))

    def unhashed(self, keys: Iterable[str]) -> list[str]:
        """Configured names that match no key here and no known key of any stream; custom fields are not checked."""
        names = {name for name in self.hashed if not self.custom_field(name)}
        return sorted(names.difference(*map(self.hashing, self._known(keys))))

    def unhashed_fields(self, fields: Iterable[str]) -> list[str]:
        """Configured names of custom fields that match none of these."""
        if self.stream.custom_fields is None:
            return []
        found = {each for field in fields for each in spellings(field)}
        own = {name: self.custom_field(name) for name in self.hashed if self.custom_field(name)}
        return sorted(name for name, field in own.items() if not found & spellings(field))

    def _known(self, keys: Iterable[str]) -> list[str]:
        return [*keys, *(key for stream in STREAMS.values() for key in stream.keys)]

    def _spelled(self, key: str, names: Iterable[str]) -> set[str]:
        forms: set[str] = set()
        for prefix in prefixes(key):
            forms |= {prefix.lower(), snake_case(prefix), self._name(prefix).lower()}
        return {name for name in names if name.lower() in forms or snake_case(name) in forms}

    def custom_field(self, name: str) -> str:
        """What follows the custom fields' name and a dot; empty for any other name."""
        custom = {stream.custom_fields for stream in STREAMS.values() if stream.custom_fields}
        prefix, _, rest = name.partition(".")
        return rest if any(self._spelled(key, {prefix}) for key in custom) else ""

    def columns(self, keys: Iterable[str]) -> dict[str, str]:
        """Key to column for the keys that are kept, in order.

        Raises:
            ConfigError: two keys would share one column.
        """
        kept = {key: name for key in keys if (name := self.column(key)) is not None}
        if dates := [key for key in kept if _DATE.search(snake_case(key)) and self.hashing(key)]:
            raise ConfigError(
                f"{', '.join(dates)}: dates cannot be hashed. Leave them out, or name other columns to hash."
            )
        taken: dict[str, str] = {}
        for key, name in kept.items():
            if taken.setdefault(name, key) != key:
                raise ConfigError(
                    f"the LMS keys {taken[name]!r} and {key!r} would both become the column {name!r}. "
                    "Rename one with LMS_COLUMN_NAMES, or leave one out with LMS_EXCLUDE_COLUMNS."
                ).about_one_scope()
        return kept
