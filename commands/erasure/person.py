"""The person to be erased, and how to recognise a mention of them."""

import re
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Person:
    """One user of the LMS, who is no longer there.

    Args:
        id: the GUID, in lower case with its dashes.
        hashed_id: its value in hashed columns; empty if there is no hash key.
        addresses: e-mail addresses by which a rejected row may name the person if its id is damaged.
    """

    id: str
    hashed_id: str = field(default="", repr=False)
    addresses: frozenset[str] = field(default=frozenset(), repr=False)

    @property
    def forms(self) -> list[str]:
        """The id without dashes, as `plain` returns it; and its hash."""
        return [self.id.replace("-", ""), *([self.hashed_id] if self.hashed_id else [])]

    @property
    def by_id(self) -> re.Pattern[bytes]:
        """Finds the id, with or without its dashes, in lower-case bytes."""
        return re.compile("|".join([self.id, *self.forms]).encode())

    @property
    def by_any(self) -> re.Pattern[bytes]:
        """Finds the id or one of the addresses as whole words, in bytes whose ASCII letters are lower case."""
        # bytes.lower() changes ASCII letters only, so others are looked for in each of their cases
        spellings = {form.encode().lower() for each in self.addresses for form in (each, each.lower(), each.upper())}
        # as whole words: an address that only contains this one is somebody else's
        words = b"|".join(map(re.escape, sorted(spellings)))
        return re.compile(self.by_id.pattern + (rb"|(?<![\w.+-])(?:%s)(?![\w.-])" % words if words else b""))

    def pattern(self, *, is_rejects: bool) -> re.Pattern[bytes]:
        """Finds what names the person in a file; rejected rows may have damaged ids."""
        return self.by_any if is_rejects else self.by_id

    def is_named_by(self, text: str | None) -> bool:
        """Whether a value is the person's id, in any form that PostgreSQL accepts, or its hash."""
        return text is not None and text.strip().strip("{}").replace("-", "").lower() in self.forms


@dataclass(frozen=True)
class Found:
    """Something that names the person: where, how many, and what will be done with it."""

    where: str
    count: int
    what: str
    is_left: bool = False
    """It is not touched, since it belongs to others."""

    def line(self) -> str:
        """The line that is printed."""
        return f"{'LEFT' if self.is_left else 'erase':<6} {self.where}: {self.count} {self.what}"
