"""The order in which rows must be written, and which rows must be written together.

A row must wait for another row (or a leaver) that still has the value it needs, or that it will refer to. Rows that
wait for each other form a group, written in one statement. PostgreSQL checks an immediate unique constraint row by row,
so in each cycle of rows that swap values, one row is parked first: its value is temporarily replaced. The order is
derived from the staged values; if a trigger changes them, the order does not help, but does no harm.
"""

from dataclasses import dataclass, field

from psycopg2.extensions import cursor as Cursor

from tasks.load.database import RowError, execute, quoted, savepoint
from tasks.load.formats import TEXTS, parsed
from tasks.load.plan import Merge
from tasks.load.reasons import Reasons
from tasks.load.schema import ForeignKey, TableColumn, Uniqueness

Pairs = list[tuple[int, int]]
"""A node, and one that must be written before it. Nodes are records of the file; leavers have negative numbers."""


@dataclass
class Group:
    """Rows and leavers that are written in one statement, in this order."""

    nodes: list[int]
    parked: list[int] = field(default_factory=list)
    parked_columns: set[str] = field(default_factory=set)


@dataclass
class Order:
    """Groups in the order in which they are written, and the pairs of which one held what the other wants."""

    groups: list[Group]
    held_before: set[tuple[int, int]] = field(default_factory=set)


def find_order(cursor: Cursor, merge: Merge, also: Pairs) -> Order:
    """All leavers, then all rows to be written in the file's order; but what one waits for before it.

    Args:
        also: pairs whose first row is to wait for the second for another reason, if it can; the weightiest first.
    """
    cursor.execute("SELECT _record FROM pg_temp.changes ORDER BY _record")
    records = [record for (record,) in cursor.fetchall()]
    cursor.execute("SELECT -_number FROM pg_temp.leavers ORDER BY _number")
    leavers = [number for (number,) in cursor.fetchall()]
    releases = {
        unique: found
        for unique in merge.table.uniqueness
        if not unique.is_key and unique.immediate and (found := holders(cursor, merge, unique))
    }
    waits = [pair for found in releases.values() for pair in found]
    for unique in merge.table.uniqueness:
        if not unique.immediate:
            waits += holders(cursor, merge, unique)
    held_before = set(waits)
    for key in merge.table.foreign_keys:
        waits += references(cursor, merge, key)
    if not waits:
        return Order([Group([node]) for node in [*leavers, *records]])
    import networkx as nx  # a seventh of a second, which few loads need to spend

    graph = nx.DiGraph()
    graph.add_nodes_from([*leavers, *records])
    graph.add_edges_from(sorted(set(waits)))
    # networkx gives each component after those that it leads to, and begins with the nodes that were added first
    components = list(nx.strongly_connected_components(graph))
    if also:
        between = nx.condensation(graph, components)
        of = between.graph["mapping"]
        for first, second in also:
            if not nx.has_path(between, of[second], of[first]):  # else rows that need not would be written together
                between.add_edge(of[first], of[second])
        components = [components[number] for [number] in nx.strongly_connected_components(between)]
    return Order([arranged(component, releases) for component in components], held_before)


def find_overtaken(
    cursor: Cursor, merge: Merge, refused: Reasons, held_before: set[tuple[int, int]]
) -> set[tuple[int, int]]:
    """Each row that got a value before a refused one that comes first in the file; and that one.

    It was written first since another row waited for it. Not so where it held the value before the load.
    """
    found: set[tuple[int, int]] = set()
    for unique in merge.table.uniqueness:
        losers = {record for record, (columns, _) in refused.items() if columns == ", ".join(unique.columns)}
        if losers and not unique.is_key:
            found |= {pair for pair in holders(cursor, merge, unique) if pair[0] in losers}
    return {(winner, loser) for loser, winner in found - held_before if winner not in refused and loser < winner}


def arranged(component: set[int], releases: dict[Uniqueness, Pairs]) -> Group:
    """A group in which each row follows the one whose value it takes; in a cycle of these one row is parked."""
    group = Group(sorted(component))
    if len(component) == 1:
        return group
    waits: dict[int, set[int]] = {node: set() for node in group.nodes}
    columns: dict[int, set[str]] = {node: set() for node in group.nodes}
    for unique, pairs in releases.items():
        for taker, holder in pairs:
            if taker in component and holder in component and holder > 0:
                waits[taker].add(holder)
                columns[holder] |= set(unique.columns)
    group.nodes, group.parked = depth_first(group.nodes, waits)
    group.parked_columns = set().union(*(columns[node] for node in group.parked))
    return group


def depth_first(nodes: list[int], waits: dict[int, set[int]]) -> tuple[list[int], list[int]]:
    """Each node after those that it waits for; and the nodes that must be parked, since a cycle closes at them.

    >>> depth_first([1, 2, 3], {1: {2}, 2: {3}, 3: set()}), depth_first([1, 2], {1: {2}, 2: {1}})
    (([3, 2, 1], []), ([2, 1], [1]))
    """
    ordered: list[int] = []
    parked: dict[int, None] = {}
    is_done: dict[int, bool] = {}
    for root in nodes:
        # a stack of our own: rows may wait for each other in chains longer than Python's recursion goes
        stack = [] if root in is_done else [(root, iter(sorted(waits[root])))]
        while stack:
            node, others = stack[-1]
            is_done[node] = False  # still on the stack: an edge back to it closes a cycle
            for other in others:
                if other not in is_done:
                    stack.append((other, iter(sorted(waits[other]))))
                    break
                if not is_done[other]:
                    parked[other] = None
            else:
                is_done[node] = True
                ordered.append(node)
                stack.pop()
    return ordered, list(parked)


def holders(cursor: Cursor, merge: Merge, unique: Uniqueness) -> Pairs:
    """Rows that want a value which another row of this load, or a leaver, still holds."""
    names = [f"e{n}" for n in range(len(unique.expressions))]
    parts = {
        "image": merge.image(unique.columns),
        "as_table": quoted(merge.table.table),  # an index may be about the row as a whole, by the table's name
        "expressions": ", ".join(f"{e} AS {name}" for name, e in zip(names, unique.expressions, strict=True)),
        "predicate": f"WHERE {unique.predicate}" if unique.predicate else "",
        "same": " AND ".join(
            f"holder.{name} {operator} taker.{name}" for name, operator in zip(names, unique.operators, strict=True)
        ),
    }
    return pairs(cursor, "holders", merge, parts)


def references(cursor: Cursor, merge: Merge, key: ForeignKey) -> Pairs:
    """Rows that refer to a row which is yet to come; and rows that cannot go or change while others refer to them."""
    if key.referred != merge.table.quoted:
        return []
    both = list(zip(map(quoted, key.columns), map(quoted, key.referred_columns), strict=True))
    needed = list(dict.fromkeys((*key.columns, *key.referred_columns)))
    to_key = key.referred_columns == (merge.key,)
    moved = " OR ".join(f"t.{column} IS DISTINCT FROM gives.{column}" for _, column in both)
    providing = {
        "image": merge.image(needed),
        "matches": " AND ".join(f"gives.{referred} = wants.{own}" for own, referred in both),
        "moved": "false" if to_key else moved,
    }
    referring = {
        "matches": " AND ".join(f"o.{own} = t.{referred}" for own, referred in both),
        "may_change": "false" if to_key else "true",
    }
    return pairs(cursor, "providers", merge, providing) + pairs(cursor, "referrers", merge, referring)


def pairs(cursor: Cursor, name: str, merge: Merge, parts: dict[str, str]) -> Pairs:
    """What a statement finds; nothing where the table's own expressions cannot take the staged values."""
    try:
        with savepoint(cursor):
            execute(cursor, name, **merge.target, **parts)
            return [(int(first), int(second)) for first, second in cursor.fetchall()]
    except RowError:
        return []


def park_values(merge: Merge, names: list[str]) -> list[str]:
    """Assignments that move a row's unique values out of the way: null where the column takes it, else one unused.

    Only columns that the file loads, since the upsert then gives each its new value.
    """
    loaded = {column.name for column in merge.columns} - {merge.key}
    columns = [column for name in names if name in loaded and (column := merge.table.column(name)) is not None]
    # under NULLS NOT DISTINCT, two rows cannot be null at once
    never_null = {name for u in merge.table.uniqueness if "IS NOT DISTINCT FROM" in u.operators for name in u.columns}
    optional = [column for column in columns if not column.required and column.name not in never_null]
    return [f"{quoted(c.name)} = NULL" for c in optional] or [f"{quoted(c.name)} = {unused(merge, c)}" for c in columns]


def unused(merge: Merge, column: TableColumn) -> str:
    """SQL for a value of that column which no row has; where none can be derived, one that the table refuses."""
    name, length, _ = parsed(column.base)
    # below or above all that is stored, and another one for each row
    lowest = f"(SELECT least(min(x.{quoted(column.name)}), 0) FROM {merge.table.quoted} AS x) - s._record"
    latest = f"(SELECT max(x.{quoted(column.name)}) FROM {merge.table.quoted} AS x) + s._record * interval '1 day'"
    if name in TEXTS:
        return f"left(md5(random()::text || s._record), {length or 32})"
    if name in {"smallint", "integer", "bigint", "numeric", "real", "double precision"}:
        return lowest
    if name in {"date", "timestamp without time zone", "timestamp with time zone"}:
        return latest
    if name.endswith("range"):
        return "'empty'"  # which overlaps no range
    return "gen_random_uuid()" if name == "uuid" else f"md5(random()::text || s._record)::{column.declared}"
