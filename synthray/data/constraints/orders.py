"""From inequalities and ranges to steps: which column is learned as the distance from which.

The inequalities are a graph: an edge from each column to every one that it may not exceed. Columns
that something else settles (a combination, a sum, a condition) are fixed; the others give way.
Those below a fixed column are learned downwards from the columns above them, all others upwards.
"""

from __future__ import annotations

import graphlib
import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from synthray.data.constraints.bounded import Bounded, Neighbour, Surroundings
from synthray.data.constraints.bounds import constant_at_least, constant_at_most
from synthray.data.constraints.lines import Line, Value
from synthray.data.schema import Column
from synthray.errors import SchemaError

Constant = int | float | str


@dataclass(frozen=True)
class Chain:
    """Columns and constants in ascending order, each at most every later one.

    key: of the constraint, with what it says; strict: each below every later one.
    """

    key: str
    items: tuple[Column | Constant, ...]
    strict: bool = False

    @property
    def columns(self) -> list[Column]:
        return [item for item in self.items if isinstance(item, Column)]

    def pairs(self) -> Iterable[tuple[Column | Constant, Column | Constant]]:
        """Each item with every later one: they hold too where one between is missing."""
        for index, lesser in enumerate(self.items):
            for greater in self.items[index + 1 :]:
                yield lesser, greater


@dataclass(frozen=True)
class _Edge:
    strict: bool
    key: str


@dataclass(frozen=True)
class _Node:
    """A column, its neighbours by name, and the constants on either side."""

    column: Column
    line: Line
    below: dict[str, _Edge] = field(default_factory=dict)
    above: dict[str, _Edge] = field(default_factory=dict)
    floors: list[tuple[Constant, _Edge]] = field(default_factory=list)
    ceilings: list[tuple[Constant, _Edge]] = field(default_factory=list)

    @property
    def keys(self) -> list[str]:
        edges = [*self.below.values(), *self.above.values()]
        edges += [edge for _, edge in (*self.floors, *self.ceilings)]
        return sorted({edge.key for edge in edges})


Graph = dict[str, _Node]


def bounded_steps(
    chains: Sequence[Chain],
    fixed: Mapping[str, str],
    sums: Collection[str],
    together: Sequence[frozenset[str]],
) -> list[Bounded]:
    """One step for every column that gives way to others or to constants.

    Args:
        fixed: by column, the constraint (or condition) that settles it.
        sums: those of them that are sums, which may leave the range of the source.
        together: columns that come in combinations of the source, in which the inequalities among
            them hold already.

    Raises:
        SchemaError: circles, columns that do not compare, or that cannot give way.
    """
    graph = _graph(chains, fixed, sums, together)
    free = [name for name in graph if name not in fixed]
    _check_circles(graph)
    down = _below(graph, fixed)
    steps = []
    for name in free:
        node, upward = graph[name], name not in down
        floor, ceiling = _constants(node)
        around = Surroundings(
            below=_neighbours(graph, node.below, None if upward else fixed),
            above=() if upward else _neighbours(graph, node.above, {*fixed, *down}),
            floor=floor,
            ceiling=ceiling,
        )
        # A column that only bounds others stays as it is.
        if around != Surroundings():
            steps.append(Bounded("; ".join(node.keys), node.line, node.column, around, upward))
    return steps


def _graph(
    chains: Sequence[Chain],
    fixed: Mapping[str, str],
    sums: Collection[str],
    together: Sequence[frozenset[str]],
) -> Graph:
    lines = _lines(chains)
    graph: Graph = {}

    def node(column: Column) -> _Node:
        return graph.setdefault(column.name, _Node(column, lines[column.name]))

    for chain in chains:
        edge = _Edge(chain.strict, chain.key)
        for lesser, greater in chain.pairs():
            if isinstance(lesser, Column) and isinstance(greater, Column):
                names = {lesser.name, greater.name}
                if any(names <= columns for columns in together):
                    continue
                if names <= set(fixed):
                    settlers = " and ".join(dict.fromkeys(fixed[name] for name in sorted(names)))
                    raise SchemaError(
                        f"{chain.key}: neither {lesser.name!r} nor {greater.name!r} can give way, "
                        f"for {settlers} settle them",
                        "leave one of these out, or put both columns into one combination",
                    )
                _connect(node(lesser), node(greater), edge)
            elif isinstance(greater, Column):
                node(greater).floors.append((lesser, edge))  # type: ignore[arg-type]
                _check_constant(chain, greater, fixed, sums)
            elif isinstance(lesser, Column):
                node(lesser).ceilings.append((greater, edge))
                _check_constant(chain, lesser, fixed, sums)
    return graph


def _connect(low: _Node, high: _Node, edge: _Edge) -> None:
    known = low.above.get(high.column.name)
    if known is None or (edge.strict and not known.strict):
        low.above[high.column.name] = high.below[low.column.name] = edge


def _check_constant(
    chain: Chain, column: Column, fixed: Mapping[str, str], sums: Collection[str]
) -> None:
    """Combinations and conditions have only values of the source; sums have others too."""
    if column.name in sums:
        raise SchemaError(
            f"{chain.key}: {fixed[column.name]} settles {column.name!r}, whose range follows from "
            "its parts",
            "bound the parts, or leave one of the two constraints out",
        )


def _lines(chains: Sequence[Chain]) -> dict[str, Line]:
    """The line of each column: one for all columns that inequalities connect."""
    groups: dict[str, dict[str, tuple[Column, str]]] = {}
    for chain in chains:
        merged = {column.name: (column, chain.key) for column in chain.columns}
        for name in list(merged):
            merged = groups.get(name, {}) | merged
        for name in merged:
            groups[name] = merged
    return {
        name: Line.of(members[name][1], [column for column, _ in members.values()])
        for name, members in groups.items()
    }


def _check_circles(graph: Graph) -> None:
    """Raises: SchemaError: columns of which each is at most the next, and the last the first."""
    sorter = graphlib.TopologicalSorter({name: list(node.below) for name, node in graph.items()})
    try:
        sorter.prepare()
    except graphlib.CycleError as error:
        # Each is an immediate predecessor of the next, so below it.
        circle: list[str] = error.args[1]
        edges = [graph[high].below[low] for low, high in itertools.pairwise(circle)]
        keys = "; ".join(dict.fromkeys(edge.key for edge in edges))
        raise SchemaError(
            f"{keys}: the inequalities go in a circle: {' <= '.join(circle)}",
            "leave one of them out",
        ) from None


def _below(graph: Graph, fixed: Mapping[str, str]) -> set[str]:
    """The free columns below a fixed one."""
    found: set[str] = set()
    left = [name for name in graph if name in fixed]
    while left:
        lesser = {name for name in graph[left.pop()].below if name not in fixed} - found
        found |= lesser
        left += sorted(lesser)
    return found


def _neighbours(
    graph: Graph, beside: Mapping[str, _Edge], known: Collection[str] | None
) -> tuple[Neighbour, ...]:
    """Those that are known before the column itself; None: all."""
    return tuple(
        Neighbour(graph[name].column, edge.strict)
        for name, edge in beside.items()
        if known is None or name in known
    )


def _constants(node: _Node) -> tuple[Value | None, Value | None]:
    """The narrowest bounds that constants give, as cells of the column.

    Raises:
        SchemaError: no cell lies within them.
    """
    floor, low = _narrowest(node, node.floors, constant_at_least, max)
    ceiling, high = _narrowest(node, node.ceilings, constant_at_most, min)
    if floor is not None and ceiling is not None and floor > ceiling:
        raise SchemaError(
            f"{'; '.join(dict.fromkeys([low, high]))}: no value of {node.column.name!r} satisfies "
            "this",
            "correct the constants",
        )
    return floor, ceiling


def _narrowest(
    node: _Node,
    given: Sequence[tuple[Constant, _Edge]],
    nearest: Callable[..., Value | None],
    choose: Callable[..., tuple[Value, str]],
) -> tuple[Value | None, str]:
    """The narrowest of some constants as a cell, and the constraint it is from."""
    found = []
    for constant, edge in given:
        bound = node.line.constant(edge.key, constant)
        cell = nearest(node.line, node.column, bound, edge.strict)
        if cell is None:
            raise SchemaError(
                f"{edge.key}: column {node.column.name!r} of {node.column.arrow_type} holds no "
                "such values",
                "correct the constant",
            )
        found.append((cell, edge.key))
    return choose(found, key=lambda pair: pair[0]) if found else (None, "")
