"""The scopes of a run: which departments or courses are read, their names, and those below the requested ones."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from prefect import task

from tasks.errors import ConfigError, IncompleteSnapshot, PipelineError
from tasks.extract.pages import check_size
from tasks.extract.session import LmsSession
from tasks.log import run_logger
from tasks.streams import Scope, Stream
from tasks.task_options import IN_MEMORY, ONCE
from tasks.text import harmless

LONGEST_NAME = 80
TRIES_FOR_A_NAME = 2
PAGE_SIZE = 1000
MOST_PAGES = 1000
"""As many pages of the list of scopes; a million departments."""


class Node(msgspec.Struct):
    """One scope as the LMS lists it, among others."""

    id: str
    name: str | None = None
    parentId: str | None = None


@dataclass(frozen=True)
class Listed:
    """The scopes that a run reads, in order, and what the account sees beside them."""

    scopes: tuple[Scope, ...]
    seen: frozenset[str] | None = None
    """The ids of all scopes of the LMS that the account sees; None where they were not listed."""

    @property
    def subject(self) -> str:
        """What a person calls all of them."""
        if len(self.scopes) == 1:
            return self.scopes[0].label
        return f"{len(self.scopes)} {self.scopes[0].stream.scope}s"

    @property
    def ids(self) -> frozenset[str]:
        """The ids of those that are read."""
        return frozenset(scope.id for scope in self.scopes)


@task(name="list-scopes", **IN_MEMORY, **ONCE)
def list_scopes(session: LmsSession, scopes: tuple[Scope, ...], *, expand: bool = False) -> Listed:
    """The scopes with their names; with `expand`, also all scopes below them, each after its parent.

    Names are only for display; if the account may not read one, the id is shown. An account may see only part of the
    tree: a scope whose parent is not listed counts as a root. Cycles are broken, and duplicates count once.

    Raises:
        ConfigError: with `expand`, one of the scopes is not in the list.
        AuthError, LmsUnavailable, IncompleteSnapshot: with `expand`, the list could not be read.
    """
    session.begin(run_logger())
    stream = scopes[0].stream
    if stream.scopes_list is None or (len(scopes) == 1 and not expand):
        return Listed(tuple(replace(scope, name=read_name(session, scope)) for scope in scopes))
    try:
        nodes = read_list(session, stream)
    except PipelineError as error:
        if expand:
            error.of_one_scope = False
            raise
        session.log.warning("the names of the %ss could not be read (%s)", stream.scope, type(error).__name__)
        return Listed(scopes)
    if expand and (unknown := [str(scope) for scope in scopes if scope.id not in nodes]):
        raise ConfigError(
            f"{', '.join(unknown)}: not found among the {len(nodes)} {stream.scope}s that this account can see. Check "
            f"{stream.scope_setting} and the permissions of the account's role."
        )
    ids = below(nodes, [scope.id for scope in scopes]) if expand else [scope.id for scope in scopes]
    if expand:
        session.log.info("%d %s(s) to read, of %d that this account sees", len(ids), stream.scope, len(nodes))
    return Listed(tuple(Scope(stream, each, name_of(nodes.get(each))) for each in ids), frozenset(nodes))


def read_name(session: LmsSession, scope: Scope) -> str:
    """A scope's name, or an empty string if it cannot be read; that never fails a run."""
    try:
        path = f"{scope.stream.scopes_path}/{scope.id}"
        return name_of(session.get(path, {}, msgspec.json.Decoder(Node).decode, str(scope), TRIES_FOR_A_NAME))
    except (PipelineError, msgspec.ValidationError) as error:
        session.log.info("%s: its name could not be read (%s)", scope, type(error).__name__)
        return ""


def read_list(session: LmsSession, stream: Stream) -> dict[str, Node]:
    """Every scope that the account sees, by its id in lower case.

    Raises:
        IncompleteSnapshot: the list does not hold as many as it says.
    """
    what = f"the list of {stream.scope}s"
    nodes: dict[str, Node] = {}
    for index in range(MOST_PAGES):
        parameters = {"_limit": PAGE_SIZE, "_offset": index}
        found, total = session.get(stream.scopes_path, parameters, lambda body: listed_in(body, stream, what), what)
        nodes |= {node.id.lower(): node for node in found}
        if not found or len(nodes) >= total:
            break
    if len(nodes) < total:
        raise IncompleteSnapshot(f"{what}: expected {total} entries, as its total says, found {len(nodes)}. Run again.")
    return nodes


def listed_in(body: bytes, stream: Stream, what: str) -> tuple[list[Node], int]:
    """The scopes of one page of the list, and how many there are in all."""
    fields: list[Any] = [("totalItems", int), (stream.scopes_list, list[Node])]
    try:
        check_size(body, len(Node.__struct_fields__))
        page: Any = msgspec.json.decode(body, type=msgspec.defstruct("ScopesPage", fields))
    except msgspec.ValidationError as error:
        raise IncompleteSnapshot(
            f"{what}: expected a response with `totalItems` and `{stream.scopes_list}`, each with an `id`; found an "
            f"invalid one ({error})."
        ) from None
    return getattr(page, str(stream.scopes_list)), page.totalItems


def below(nodes: dict[str, Node], roots: Iterable[str]) -> list[str]:
    """The ids of the roots and of all below them, each once, those below a scope right after it.

    >>> tree = {"a": Node("a"), "b": Node("b", parentId="A"), "c": Node("c", parentId="b"), "d": Node("d")}
    >>> below(tree, ["b", "a"])
    ['b', 'c', 'a']
    """
    children: dict[str, list[str]] = {}
    for node_id, node in nodes.items():
        children.setdefault((node.parentId or "").lower(), []).append(node_id)
    found: dict[str, None] = {}
    waiting = list(reversed(list(roots)))
    while waiting:
        node_id = waiting.pop()
        if node_id not in found:
            found[node_id] = None
            waiting += sorted(
                children.get(node_id, ()), key=lambda child: (nodes[child].name or "", child), reverse=True
            )
    return list(found)


def name_of(node: Node | None) -> str:
    """A scope's name, as it may be shown; empty where there is none."""
    name = " ".join(harmless((node.name if node else None) or "").split())
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
