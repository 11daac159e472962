"""The person who is to be erased, and how to know a mention of them."""

import re
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Person:
    """One user of the LMS, who is there no more.

    Args:
        id: the GUID, in lower case with its dashes.
        addresses: e-mail addresses by which a rejected row names the person whose id it spoils.
    """

    id: str
    addresses: frozenset[str] = field(default=frozenset(), repr=False)

    @property
    def by_id(self) -> re.Pattern[bytes]:
        """Finds the id, with or without its dashes, in lower-case bytes."""
        return re.compile(f"{self.id}|{self.id.replace('-', '')}".encode())

    @property
    def by_any(self) -> re.Pattern[bytes]:
        """Finds the id or one of the addresses, as whole words, in lower-case bytes."""
        words = "|".join(re.escape(each.lower()) for each in sorted(self.addresses))
        return re.compile(self.by_id.pattern + (rf"|(?<![\w.+-])(?:{words})(?![\w.-])".encode() if words else b""))


@dataclass(frozen=True)
class Found:
    """Something that names the person: where, how many, and what is to become of it."""

    where: str
    count: int
    what: str
    is_left: bool = False
    """It is not touched, since it belongs to others."""

    def line(self) -> str:
        """As it is printed."""
        return f"{'LEFT' if self.is_left else 'erase':<6} {self.where}: {self.count} {self.what}"
