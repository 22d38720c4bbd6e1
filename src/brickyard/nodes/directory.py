"""How to call a node: by the name of its host."""

from __future__ import annotations

from collections.abc import Mapping

from brickyard.core import errors
from brickyard.nodes.verbs import Node


class Directory:
    """The nodes that can be reached."""

    def __init__(self, nodes: Mapping[str, Node]) -> None:
        self._nodes = dict(nodes)

    def __getitem__(self, host: str) -> Node:
        node = self._nodes.get(host)
        if node is None:
            raise errors.Unavailable(f"Host {host} cannot be reached: no node agent of that name runs.")
        return node

    def names(self) -> list[str]:
        return sorted(self._nodes)
