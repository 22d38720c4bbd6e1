"""How to call a node: by the name of its host."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from brickyard.core import errors
from brickyard.nodes.verbs import Node


class Remote(Protocol):
    """Nodes that are other processes."""

    def node(self, host: str) -> Node | None: ...

    def names(self) -> list[str]: ...

    def hears(self) -> bool: ...

    def know(self, host: str) -> None: ...

    def forget(self, host: str) -> None: ...


class Directory:
    """The nodes that can be called: those of this process first. `fence` raises HostLost for a host that nobody may
    ask for anything; it is asked before each call of a node that is not in this process."""

    def __init__(
        self, nodes: Mapping[str, Node], remote: Remote | None = None, fence: Callable[[str], None] = lambda host: None
    ) -> None:
        self._nodes, self.remote, self._fence = dict(nodes), remote, fence

    def __getitem__(self, host: str) -> Node:
        if host not in self._nodes:
            self._fence(host)
        return self.returning(host)

    def returning(self, host: str) -> Node:
        """Also that of a host that was declared lost: to look at what it comes back with."""
        node = self._nodes.get(host) or (self.remote.node(host) if self.remote else None)
        if node is None:
            raise errors.Unavailable(f"Host {host} cannot be reached: no node agent of that name runs.")
        return node

    def hears(self) -> bool:
        """Whether what is known of the hosts counts. If not, nobody says anything that could be heard, and one that is
        silent, or down, may be as well as ever."""
        return self.remote is None or self.remote.hears()

    def check_heard(self) -> None:
        """Unreachable where it does not count, before anything is refused for it."""
        if not self.hears():
            raise errors.Unreachable(
                "The message broker is not there, or came back only now: which hosts are up will be known when it is."
            )

    def own(self) -> list[str]:
        """The hosts whose nodes are in this process."""
        return sorted(self._nodes)

    def names(self) -> list[str]:
        return sorted({*self._nodes, *(self.remote.names() if self.remote else ())})
