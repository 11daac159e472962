"""The scopes of a run: which departments or courses are read, their names, and those below the requested ones."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from prefect import task

from tasks.errors import ConfigError, IncompleteSnapshot, LmsUnavailable, PipelineError
from tasks.extract.pages import check_size, replace_surrogates
from tasks.extract.session import LmsSession
from tasks.log import run_logger
from tasks.metadata import GUID
from tasks.streams import Scope, Stream
from tasks.task_options import IN_MEMORY, ONCE
from tasks.text import harmless

LONGEST_NAME = 80
SWEEPS = 3
PAGE_SIZE = 1000  # the most that the LMS gives
MOST_PAGES = 1000
"""As many pages of the list of scopes; a million departments."""


class Node(msgspec.Struct):
    """One scope as the LMS lists it, among others."""

    id: str
    name: Any = None  # of any type: one odd name or parent must not make the whole list unreadable
    parentId: Any = None


@dataclass(frozen=True)
class Listed:
    """The scopes that a run reads, in order, and what the account sees beside them."""

    scopes: tuple[Scope, ...]
    seen: frozenset[str] | None = None
    """The ids of all scopes of the LMS that the account sees; None where they were not listed."""
    unreadable: tuple[tuple[Scope, PipelineError], ...] = ()
    """Requested scopes, or scopes below them, that cannot be read, each with the reason."""
    was_unavailable: bool = False
    """The LMS was unavailable when the names were requested."""

    @property
    def subject(self) -> str:
        """What a person calls all of them."""
        if len(self.scopes) == 1:
            return self.scopes[0].label
        return f"{len(self.scopes)} {self.scopes[0].stream.scope_noun}s"

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
        ConfigError: with `expand`, none of the scopes is in the list.
        AuthError, LmsUnavailable, IncompleteSnapshot: with `expand`, the list could not be read.
    """
    session.begin(run_logger())
    stream = scopes[0].stream
    if stream.scopes_list is None or (len(scopes) == 1 and not expand):
        return with_names(session, scopes)
    try:
        nodes = read_list(session, stream, optional=not expand)
    except PipelineError as error:
        if expand:
            # without the list no scope can be read, so this is the run's error
            error.of_one_scope = False
            raise
        session.log.warning("the names of the %ss could not be read (%s)", stream.scope_noun, type(error).__name__)
        return Listed(scopes, was_unavailable=isinstance(error, LmsUnavailable))
    if not expand:
        return Listed(tuple(Scope(stream, s.id, name_of(nodes.get(s.id))) for s in scopes), frozenset(nodes))
    return expanded(session, nodes, scopes)


def expanded(session: LmsSession, nodes: dict[str, Node], scopes: tuple[Scope, ...]) -> Listed:
    """These scopes and all scopes below them; one that is not in the list does not stop the others."""
    stream = scopes[0].stream
    found: list[Scope] = []
    unreadable: list[tuple[Scope, PipelineError]] = []
    for scope in scopes:
        if scope.id not in nodes:
            error = ConfigError(
                f"{scope}: not found among the {len(nodes)} {stream.scope_noun}s that this account can see. Check "
                f"{stream.scope_setting} and the permissions of the account's role."
            )
            unreadable.append((scope, error.about_one_scope()))
    if len(unreadable) == len(scopes):
        raise ConfigError(str(unreadable[0][1]), [str(error) for _, error in unreadable[1:]])
    for node_id in below(nodes, [scope.id for scope in scopes if scope.id in nodes]):
        # also for an id that cannot be read, so that the report can name it
        scope = Scope(stream, harmless(node_id)[:LONGEST_NAME], name_of(nodes[node_id]))
        if re.fullmatch(GUID, node_id):
            found.append(scope)
        else:
            error = ConfigError(
                f"{scope}: its id is not a GUID, so it cannot be read. Ask Absorb what this {stream.scope_noun} is."
            )
            unreadable.append((scope, error.about_one_scope()))
    session.log.info("%d %s(s) to read, of %d that this account sees", len(found), stream.scope_noun, len(nodes))
    return Listed(tuple(found), frozenset(nodes), tuple(unreadable))


def with_names(session: LmsSession, scopes: tuple[Scope, ...]) -> Listed:
    """The scopes with their names, each requested separately. No run fails because of a name, or waits long for one.

    If the LMS refuses a name or is unavailable, the other names are not requested.
    """
    named: dict[str, str] = {}
    for scope in scopes:
        try:
            path = f"{scope.stream.scopes_path}/{scope.id}"
            named[scope.id] = name_of(session.get(path, {}, node_in, str(scope), optional=True))
        except ConfigError as error:  # this one is not there
            session.log.info("%s: its name could not be read (%s)", scope, type(error).__name__)
        except (PipelineError, msgspec.ValidationError) as error:
            session.log.info(
                "%s: its name could not be read (%s); no other names are requested", scope, type(error).__name__
            )
            return Listed(with_known_names(scopes, named), was_unavailable=isinstance(error, LmsUnavailable))
    return Listed(with_known_names(scopes, named))


def with_known_names(scopes: tuple[Scope, ...], names: dict[str, str]) -> tuple[Scope, ...]:
    """The scopes, with the names that are known."""
    return tuple(replace(scope, name=names.get(scope.id, "")) for scope in scopes)


def node_in(body: bytes) -> Node:
    """One scope, from the response about it."""
    return msgspec.json.decode(replace_surrogates(body)[0], type=Node)


def read_list(session: LmsSession, stream: Stream, *, optional: bool) -> dict[str, Node]:
    """Every scope that the account sees, by its id in lower case.

    Every page must have the same total, and the list must have that many entries. If an entry occurs twice, the list
    may have changed between two pages; it is accepted only if a second reading gives the same entries.

    Raises:
        IncompleteSnapshot: it was inconsistent in each of SWEEPS readings.
    """
    what = f"the list of {stream.scope_noun}s"
    before: list[str] | None = None
    problem = ""
    for _ in range(SWEEPS):
        nodes, totals = read_once(session, stream, what, optional=optional)
        ids = [node.id.lower() for node in nodes]
        agrees = totals == {len(ids)}
        if agrees and (len(set(ids)) == len(ids) or sorted(ids) == before):
            return dict(zip(ids, nodes, strict=True))
        problem = f"expected {' or '.join(map(str, sorted(totals)))} entries, as it says, found {len(ids)}"
        problem += f", {len(set(ids))} of them distinct"
        before = sorted(ids) if agrees else None
    raise IncompleteSnapshot(f"{what}: {problem}, in the last of {SWEEPS} readings. Run again.")


def read_once(session: LmsSession, stream: Stream, what: str, *, optional: bool) -> tuple[list[Node], set[int]]:
    """Every entry on the list's pages, and every total that the pages state."""
    nodes: list[Node] = []
    totals: set[int] = set()
    for index in range(MOST_PAGES):
        parameters = {"_limit": PAGE_SIZE, "_offset": index}
        found, total = session.get(
            stream.scopes_path, parameters, lambda body: listed_in(body, stream, what), what, optional=optional
        )
        nodes += found
        totals.add(total)
        # a full last page is followed by one more, which must be empty (as in fetch.py)
        if not found or (len(nodes) >= total and len(found) < PAGE_SIZE):
            break
    return nodes, totals


def listed_in(body: bytes, stream: Stream, what: str) -> tuple[list[Node], int]:
    """The scopes of one page of the list, and how many there are in all."""
    fields: list[Any] = [("totalItems", int), (stream.scopes_list, list[Node])]
    try:
        check_size(body, len(Node.__struct_fields__))
        envelope = msgspec.defstruct("ScopesPage", fields)
        page: Any = msgspec.json.decode(replace_surrogates(body)[0], type=envelope)
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
        parent = node.parentId if isinstance(node.parentId, str) else ""
        children.setdefault(parent.lower(), []).append(node_id)  # the LMS writes GUIDs in either case
    found: dict[str, None] = {}
    # A stack of our own, since a tree may be deeper than Python's recursion goes. What comes first is put on it last.
    waiting = list(reversed(list(roots)))
    while waiting:
        node_id = waiting.pop()
        if node_id not in found:
            found[node_id] = None
            waiting += sorted(children.get(node_id, ()), key=lambda child: (name_of(nodes[child]), child), reverse=True)
    return list(found)


def name_of(node: Node | None) -> str:
    """A scope's name, as it may be shown; empty where there is none."""
    name = " ".join(harmless(node.name).split()) if node is not None and isinstance(node.name, str) else ""
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
