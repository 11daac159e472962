"""One page of a stream: request it, decode it, write it to disk; and what the completeness check needs from it."""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from tasks.errors import ConfigError, IncompleteSnapshot
from tasks.extract.decode import PageDecoder, item_columns, may_hold_secret
from tasks.extract.session import LmsSession
from tasks.files import create_private
from tasks.repeated_keys import repeated_key
from tasks.snapshot_ids import fingerprint
from tasks.streams import Scope, Stream

MAX_PAGE_MEMORY = 128 << 20
"""Bytes that one page's items may take while they are decoded; 1,000 usual ones take about 15 MB."""
TEXT_COPIES = 2  # one to count its keys, one in the column


@dataclass(frozen=True)
class Page:
    """What the completeness check needs from one page; its items are on disk."""

    index: int
    total: int
    limit: int | None
    rows: int
    keys: tuple[str, ...]  # those that no page decoded before it had
    fingerprints: bytes
    foreign_rows: int
    left_out: int  # rows of other scopes that the same run reads by themselves
    replaced_characters: int


class Disagreement(Exception):
    """The pages of one sweep contradict each other: people joined, left or were renamed meanwhile."""


class NotAPage(Disagreement):
    """Complete JSON in another format, for example a proxy's error, which another sweep may not meet.

    Args:
        error: what is raised if every sweep meets it.
    """

    def __init__(self, error: IncompleteSnapshot) -> None:
        super().__init__(error.message)
        self.error = error


def read_page(session: LmsSession, scope: Scope, index: int, limit: int, keep: Callable[[bytes], Page]) -> Page:
    """Request one page and pass its body to `keep`. A truncated body is requested again."""
    path, params = page_request(scope, index, limit)
    return session.get(path, params, keep, f"{scope}, page {index}")


def page_request(scope: Scope, index: int, limit: int) -> tuple[str, dict[str, Any]]:
    """The path and the parameters of the request for one 0-based page of a scope."""
    # _offset is a page number, not a row offset (docs.myabsorb.com, "Pagination")
    filled = {name: value.format(scope_id=scope.id) for name, value in scope.stream.query.items()}
    return scope.stream.path.format(scope_id=scope.id), {**filled, "_limit": limit, "_offset": index}


def keep_page(
    body: bytes, decoder: PageDecoder, folder: Path, scope: Scope, index: int, others: frozenset[str] = frozenset()
) -> Page:
    """Decode one page and write its items into `folder`: real characters only, and no password.

    Items of the scopes whose ids are in `others` count only for the completeness check.

    A page of members:

        {"totalItems": 7, "returnedItems": 3, "limit": 3, "offset": 0, "users": [{"id": "0f6f…", …}, …]}

    Raises:
        msgspec.DecodeError: the body was cut, or is not JSON.
        NotAPage: the body is JSON but not such a page.
        Disagreement: the page contains a different number of items than it claims.
        ConfigError: an object repeats a key, or two keys would become one column.
    """
    where, stream = f"{scope}, page {index}", scope.stream
    try:
        check_size(body, decoder.keys)
        # Before decoding: msgspec takes half a surrogate pair for a truncated body, which would be read again in vain.
        body, replaced = replace_surrogates(body)
        page = decoder.decode(body)
        if page.items is None or page.totalItems is None:
            missing = f"list `{stream.list_name}`" if page.items is None else "`totalItems`"
            raise not_a_page(where, stream, f"one without the {missing}")
        if page.returnedItems not in (None, len(page.items)):
            raise Disagreement(
                f"page {index} claims {page.returnedItems} {stream.item_noun} but contains {len(page.items)}"
            )
        check_keys(body, page.items, where)
        items = pa.table(item_columns(page.items, stream, may_hold_secret=may_hold_secret(body)))
        items = with_scope(items, scope) if stream.implies_scope else items
        keys = decoder.unseen(items.column_names)
    except msgspec.ValidationError as error:
        raise not_a_page(where, stream, f"an invalid one ({error})") from None
    except RecursionError:
        raise not_a_page(where, stream, "values nested too deeply to be read") from None
    own = items.filter(pc.invert(belongs_to(items, scope.stream, others))) if others else items
    write_items(own, page_file(folder, index))
    return Page(
        index=index,
        total=page.totalItems,
        limit=page.limit,
        rows=len(items),
        keys=keys,
        fingerprints=b"".join(map(fingerprint, items[stream.id_key].to_pylist())),
        foreign_rows=len(own) - in_scope(own, scope),
        left_out=len(items) - len(own),
        replaced_characters=replaced,
    )


def not_a_page(where: str, stream: Stream, found: str) -> NotAPage:
    """The error for whole JSON that is not a page of the stream."""
    return NotAPage(
        IncompleteSnapshot(
            f"{where}: expected a response with `totalItems` and `{stream.list_name}`, each with an "
            f"`{stream.id_key}`; found {found}. Nothing was published, since the list could not be verified."
        )
    )


def check_keys(body: bytes, items: Sequence[Any], where: str) -> None:
    """Raise ConfigError for an object that repeats a key: the decoder has kept only the last value."""
    if (key := repeated_key(body, items)) is not None:
        raise ConfigError(
            f"{where}: the LMS sends the key {key!r} twice in one object. One value would be lost, so nothing was "
            "published. Ask Absorb which one is meant."
        ).about_one_scope()


def write_items(items: pa.Table, path: Path) -> None:
    """One page as an Arrow file with one column per key and mode 0600."""
    with create_private(path) as file, pa.ipc.new_file(file, items.schema) as writer:
        writer.write_table(items)


def with_scope(items: pa.Table, scope: Scope) -> pa.Table:
    """The items, those that name no scope given the one that was asked for."""
    key = scope.stream.scope_key
    filled = pa.array([scope.id] * len(items), pa.string())
    if key not in items.column_names:
        return items.append_column(key, filled)
    return items.set_column(items.column_names.index(key), key, pc.coalesce(items[key], filled))


def in_scope(items: pa.Table, scope: Scope) -> int:
    """How many items say that they belong to this very scope."""
    return pc.sum(belongs_to(items, scope.stream, {scope.id})).as_py() or 0


def belongs_to(items: pa.Table, stream: Stream, scope_ids: Collection[str]) -> pa.ChunkedArray:
    """Whether each item says that it belongs to one of these scopes."""
    if stream.scope_key not in items.column_names:
        return pa.chunked_array([pa.repeat(False, len(items))])
    return pc.is_in(pc.utf8_lower(items[stream.scope_key]), pa.array(sorted(scope_ids), pa.string()))


def check_size(body: bytes, keys: int) -> None:
    """Raise ValidationError for a page whose items would take too much memory, before one of them is decoded.

    Counts what must become an object: each brace may be an item with a place for every key, each comma or bracket
    a value; one character beyond Latin-1 makes a text four times as long.
    """
    # upper bound in bytes: 100 per object, and 24 for the place of each key
    structs = body.count(b"{") * (100 + 24 * keys)
    # 54 = 100 / 2 + 4: a value of two bytes takes 100, a wide character four
    if len(body) * 54 + structs <= MAX_PAGE_MEMORY:  # a value takes two bytes at least: usual pages end here
        return
    wide = 4 if b"\\u" in body or not body.isascii() else 1
    values = body.count(b",") + body.count(b"[")
    if _ANY_SURROGATE.search(body):  # each escape is looked at, to find those that are no character
        values += body.count(b"\\")
    # a text is decoded, then copied to be counted and into a column, which doubles its memory as it grows
    needed = len(body) * (wide + TEXT_COPIES) + values * 100 + structs
    if needed > MAX_PAGE_MEMORY:
        raise msgspec.ValidationError(
            f"a page that would take {needed >> 20} MB of memory, more than {MAX_PAGE_MEMORY >> 20}; try a lower "
            "LMS_PAGE_SIZE"
        )


def replace_surrogates(body: bytes) -> tuple[bytes, int]:
    """Lone surrogate escapes, which are no characters, become U+FFFD; and how many there were."""
    if _ANY_SURROGATE.search(body) is None:
        return body, 0
    replaced = 0

    def replaced_escape(escape: re.Match[bytes]) -> bytes:
        nonlocal replaced
        if escape["lone"] is None:
            return escape[0]
        replaced += 1
        return b"\\ufffd"

    return _ESCAPE.sub(replaced_escape, body), replaced


def page_file(folder: Path, index: int) -> Path:
    """The file of one 0-based page."""
    return folder / f"page-{index:05d}.arrow"  # MAX_PAGES has five digits


_ANY_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_ESCAPE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # a pair: one character
    rb"|(?P<lone>\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
    rb"|\\."  # any other escape, so that an escaped backslash is not taken for the start of one
)
