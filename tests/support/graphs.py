"""Comparing inert graphs: the same nodes, shared and looped in the same places."""

from __future__ import annotations

from typing import Any

from viscy_compat.checkpoint.pickle_nodes import Call, Dict, Global, Items, Node, children


def same_graph(first: Node, second: Node) -> bool:
    """Whether a walk of both graphs in step sees no difference, and no node shared in one only."""
    partner: dict[int, int] = {}
    taken: dict[int, int] = {}
    waiting = [(first, second)]
    while waiting:
        mine, theirs = waiting.pop()
        if type(mine) is not type(theirs):
            return False
        if _is_leaf(mine):
            if repr(mine) != repr(theirs):
                return False
            continue
        if id(mine) in partner or id(theirs) in taken:
            if partner.get(id(mine)) != id(theirs) or taken.get(id(theirs)) != id(mine):
                return False
            continue
        partner[id(mine)], taken[id(theirs)] = id(theirs), id(mine)
        here, there = _content(mine), _content(theirs)
        if len(here) != len(there):
            return False
        waiting += zip(here, there, strict=True)
    return True


def _is_leaf(node: Node) -> bool:
    if isinstance(node, list | Dict | Items | Call):
        return False
    return node is None or node == () or isinstance(node, bool | int | float | str | bytes | Global)


def _content(node: Node) -> list[Any]:
    """Everything that a node holds, with what tells apart nodes that hold the same."""
    parts = list(children(node))
    if type(node) is Call:
        parts += [node.kind, *(len(part or ()) for part in (node.items, node.entries, node.states))]
    elif type(node) is Items:
        parts.append(node.kind)
    return parts
