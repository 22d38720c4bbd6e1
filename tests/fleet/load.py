"""Clients of a fleet while it is being broken: they make volumes, and remember what each answer promised."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Iterator, Sized

import httpx
from tests.agents.rig import until
from tests.fleet.rig import PATIENCE_S, Cloud

MAYBE = "told to commit"  # of the one answer that says that nobody knows


class Load:
    """Volumes of 1 GiB by name: `acknowledged` (name → id), `refused` (nothing may be there), `unknown` (whoever asked
    was cut off before the answer came)."""

    def __init__(self, cloud: Cloud, at_most: int) -> None:
        self.cloud, self.at_most = cloud, at_most
        self.acknowledged: dict[str, str] = {}
        self.refused: list[str] = []
        self.unknown: list[str] = []
        self._names = itertools.count()
        self._over = threading.Event()

    def ask(self) -> None:
        """For one volume."""
        name = f"load-{next(self._names)}"
        try:
            answer = self.cloud.http.post("/v3/volumes", json={"volume": {"size": 1, "name": name}})
        except httpx.TransportError:
            self.unknown.append(name)
            return
        if answer.status_code == 202:
            self.acknowledged[name] = answer.json()["volume"]["id"]
        elif answer.status_code == 503:
            (self.unknown if MAYBE in answer.text else self.refused).append(name)
        else:
            assert answer.status_code in (502, 504), answer.text
            self.unknown.append(name)

    def _work(self) -> None:
        while not self._over.wait(0.3):
            if len(self.acknowledged) < self.at_most:
                self.ask()

    @contextlib.contextmanager
    def goes_on(self) -> Iterator[None]:
        """Until the block ends."""
        thread = threading.Thread(target=self._work, name="load")
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def more(self, of: Sized) -> None:
        """Until there are some more of these."""
        had = len(of)
        until(lambda: len(of) >= had + 3, "clients go on", PATIENCE_S)

    def kept(self) -> None:
        """What was acknowledged is done, and what was refused is not there."""
        for id in self.acknowledged.values():
            until(lambda id=id: self.cloud.status(id) != "creating", f"{id} is settled", PATIENCE_S)
            self.cloud.becomes(id, "available")
        names = {volume["name"] for volume in self.cloud.get("/v3/volumes")["volumes"]}
        assert not names.intersection(self.refused), "what was refused is there"
        assert set(self.acknowledged) <= names
