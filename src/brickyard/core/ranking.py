"""Which pools, or which host with which pools, a request gets: best first.

A ranking works on an inventory that may be seconds old, and promises nothing: the claim in the database decides. It
never tries combinations. The volumes of one instance are placed one after the other, largest first, so that the work
grows with volumes times pools and a request of many volumes cannot stop a conductor.

Candidates come by distance: first the hosts that hold everything themselves, then those with volumes in their rack,
and so on as far as `locality` allows. At one distance the host comes first whose surroundings offer the best pool to
the largest volume; among hosts with the same surroundings, the one with most free memory.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator

from brickyard.core import explanation, filters, topology
from brickyard.core.inventory import Entry, Inventory, Item, Selection, Site
from brickyard.core.placement import Ask, Boot, Candidate, Ranking, Verdict

LIMIT = 10
SMALL_GROUP_SITES = 64  # up to here sorting the pools of a group is cheaper than walking all pools

Offer = tuple[int, float, Entry]  # distance from the instance, cost, pool


def rank_pools(inventory: Inventory, ask: Ask, limit: int = LIMIT, *, explained: bool = True) -> Ranking:
    """The best pools for one volume; with a word on each pool where there is none, if that is wanted."""
    with inventory.lock:
        walk = Selection(inventory, ask, ask.near).walk()
        best = itertools.islice(walk, limit)
        found = tuple(Candidate(entry.site.host, (entry.pool,), -cost) for cost, _, entry in best)
        return Ranking(found, explain(inventory, ask) if explained and not found else ())


def rank_hosts(inventory: Inventory, boot: Boot, limit: int = LIMIT, *, explained: bool = True) -> Ranking:
    """The best hosts for an instance, each with a pool for every new volume; `explained` as above."""
    with inventory.lock:
        found = tuple(itertools.islice(search(inventory, boot), limit))
        return Ranking(found, explain(inventory, boot) if explained and not found else ())


def search(inventory: Inventory, boot: Boot) -> Iterator[Candidate]:
    """Candidates one by one, without an explanation at the end; the caller holds the lock."""
    return _Search(inventory, boot).candidates()


def explain(inventory: Inventory, request: Ask | Boot) -> tuple[Verdict, ...]:
    """What becomes of every host and every pool, each exactly once. Looks at all of them: not for the fast path."""
    with inventory.lock:
        if isinstance(request, Ask):
            walk = Selection(inventory, request, request.near).walk()
            ranked = [Candidate(entry.site.host, (entry.pool,), -cost) for cost, _, entry in walk]
            return explanation.of_volume(inventory, request, ranked)
        return explanation.of_boot(inventory, request, list(search(inventory, request)))


class _Search:
    """One decision for one instance: what it has looked up so far."""

    def __init__(self, inventory: Inventory, boot: Boot) -> None:
        self.inventory, self.boot = inventory, boot
        self.levels = len(inventory.rules.levels)
        self.farthest = inventory.rules.levels.index(boot.locality) if boot.required else self.levels
        self.selections = [Selection(inventory, ask, boot.near) for ask in boot.volumes]
        sizes = [ask.size_gib for ask in boot.volumes]
        self.order = sorted(range(len(sizes)), key=lambda index: -sizes[index])
        self.alike = [boot.volumes.index(ask) for ask in boot.volumes]  # equal asks are looked up once
        self.unknown_holder = any(name not in inventory.sites for name in boot.holders)
        self.holders = [inventory.sites[name] for name in boot.holders if name in inventory.sites]
        self.near = inventory.sites.get(boot.near) if boot.near else None
        self._best: dict[tuple[int, topology.Place, int], list[Item]] = {}

    def candidates(self) -> Iterator[Candidate]:
        """Every host that can run the request, once, at the smallest distance that works."""
        if self.unknown_holder and self.boot.required:
            return
        done: set[str] = set()
        for at in range(self.farthest + 1):
            for hosts in self._groups(at):
                for site in hosts:
                    if site.host.name not in done:
                        candidate = self._candidate(site, at)
                        if candidate is not None:
                            done.add(site.host.name)
                            yield candidate

    # where to look -----------------------------------------------------------

    def _groups(self, at: int) -> Iterator[Iterable[Site]]:
        """Groups of hosts that share their place at this level, best offer for the largest volume first."""
        if self.holders:
            yield from self._around_holders(at)
        elif not self.order:
            yield from [self._by_memory()] if at == 0 else []
        elif at == self.levels:
            yield self._by_memory()
        else:
            seen: set[topology.Place] = set()
            for item in self.selections[self.order[0]].walk():
                site = item[2].site
                place = site.places[at]
                if place is not None and place not in seen:
                    seen.add(place)
                    yield [site] if at == 0 else self._members(at, place)

    def _around_holders(self, at: int) -> Iterator[Iterable[Site]]:
        """The one group that holds all existing volumes, if there is one at this level."""
        if at == self.levels:
            yield self._by_memory()
            return
        places = {site.places[at] for site in self.holders}
        if len(places) == 1 and None not in places and not self.unknown_holder:
            yield self._members(at, places.pop())

    def _members(self, at: int, place: topology.Place) -> list[Site]:
        members = self.inventory.groups[at, place]
        return sorted(members, key=lambda site: (self._gap(site), -site.host.memory_mib_free, site.host.name))

    def _by_memory(self) -> Iterable[Site]:
        sites = self.inventory.sites
        listed = (sites[name] for _, name in self.inventory.by_memory)
        return listed if self.near is None else sorted(listed, key=self._gap)

    def _gap(self, site: Site) -> int:
        return topology.distance(site.places, self.near.places) if self.near is not None else 0

    # what one host gets ------------------------------------------------------

    def _candidate(self, site: Site, at: int) -> Candidate | None:
        if filters.host_refusal(site.host, self.boot) is not None:
            return None
        if any(holder is not site and not holder.host.exports for holder in self.holders):
            return None
        apart = max((topology.distance(site.places, holder.places) for holder in self.holders), default=0)
        if not self.order:
            gain = self.inventory.scale.closeness(self._gap(site)) if self.near is not None else 0.0
            return Candidate(site.host, (), gain, max(apart, self.levels if self.unknown_holder else 0))
        offered: dict[int, list[Offer]] = {}
        for index in self.alike:
            if index not in offered:
                offered[index] = self._offers(site, at, index)
                if not offered[index]:
                    return None
        offers = [offered[index] for index in self.alike]
        chosen = _paired(self.selections, self.order, offers, self.inventory.scale.per_gib)
        if chosen is None:
            return None
        distance = max(apart, *(offer[0] for offer in chosen), self.levels if self.unknown_holder else 0)
        weight = -min(offer[1] for offer in offers[self.order[0]])
        return Candidate(site.host, tuple(offer[2].pool for offer in chosen), weight, distance)

    def _offers(self, site: Site, at: int, index: int) -> list[Offer]:
        """The pools for one volume, own ones first.

        As many pools as there are volumes are enough at each level: the volumes placed before leave one untouched.
        """
        if at == 0:
            return [(0, cost, entry) for cost, _, entry in self.selections[index].among((site,))]
        offers: list[Offer] = []
        for level in range(at + 1):
            taken = {offer[2].tie for offer in offers}
            items = self._best_at(site, level, index)
            offers += [(level, cost, entry) for cost, tie, entry in items if tie not in taken]
        return offers

    def _best_at(self, site: Site, level: int, index: int) -> list[Item]:
        place = site.places[level] if level < self.levels else ()
        if place is None:
            return []
        key = (level, place, index)
        if key not in self._best:
            selection, count = self.selections[index], len(self.selections)
            members = self.inventory.groups[level, place] if level < self.levels else None
            if members is not None and len(members) <= SMALL_GROUP_SITES:
                near = members if level == 0 else [one for one in members if one.host.exports]
                self._best[key] = selection.among(near)[:count]
            else:
                inside = (
                    item
                    for item in selection.walk()
                    if (level == self.levels or item[2].site.places[level] == place)
                    and (level == 0 or item[2].site.host.exports)
                )
                self._best[key] = list(itertools.islice(inside, count))
        return self._best[key]


def _paired(
    selections: list[Selection], order: list[int], offers: list[list[Offer]], per_gib: float
) -> list[Offer] | None:
    """One pool for each volume, or None. Several may share a pool as long as all of them fit together.

    Three passes, each linear in volumes times pools. The first spreads over the best pools, as single requests would.
    The second packs tightly, and the third lets the volume go first that has the fewest pools to choose from.
    """
    if len(order) == 1:
        return [min(offers[0], key=lambda offer: (offer[0], offer[1], offer[2].tie))]
    rooms = {offer[2].tie: offer[2].room for listed in offers for offer in listed}
    if sum(selection.ask.size_gib for selection in selections) > sum(rooms.values()):
        return None  # no arrangement can help, so none is tried

    def spread(offer: Offer, left: int, used: int) -> tuple[float, ...]:
        return (offer[0], offer[1] + used * per_gib)

    def tight(offer: Offer, left: int, used: int) -> tuple[float, ...]:
        return (left, offer[0])

    scarce = sorted(order, key=lambda index: len(offers[index]))
    for sequence, prefer in ((order, spread), (order, tight), (scarce, tight)):
        placed = _placed(selections, sequence, offers, prefer)
        if placed is not None:
            return [placed[index] for index in range(len(order))]
    return None


def _placed(
    selections: list[Selection],
    sequence: list[int],
    offers: list[list[Offer]],
    prefer: Callable[[Offer, int, int], tuple[float, ...]],
) -> dict[int, Offer] | None:
    used: dict[str, int] = {}
    placed: dict[int, Offer] = {}
    for index in sequence:
        selection = selections[index]
        size = selection.ask.size_gib
        best: tuple[tuple[float, ...], str, Offer] | None = None
        for offer in offers[index]:
            entry = offer[2]
            taken = used.get(entry.tie, 0)
            left = selection.room(entry) - taken - size
            if left >= 0:
                rated = (prefer(offer, left, taken), entry.tie, offer)
                if best is None or rated[:2] < best[:2]:
                    best = rated
        if best is None:
            return None
        placed[index] = best[2]
        used[best[2][2].tie] = used.get(best[2][2].tie, 0) + size
    return placed
