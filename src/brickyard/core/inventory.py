"""All hosts and pools of one refresh, indexed so that a decision looks at few of them.

Pools are kept sorted by weight. Pools that report the same lasting things are one kind, and whether a type accepts a
kind is found out once: each combination of extra specs and zones gets a view, which is the sorted list of the pools
that it accepts. A decision walks its view from the best pool and stops when it has enough. Claims change between
refreshes; `replace` moves one pool in every view, in microseconds.
"""

from __future__ import annotations

import bisect
import collections
import dataclasses
import heapq
import json
import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from brickyard.core import errors, extra_specs, filters, topology, weighers
from brickyard.core.placement import Ask, HostView, PoolView, Rules

VIEWS_MAX = 64  # combinations of extra specs and zones that are remembered


@dataclass(slots=True, eq=False)
class Site:
    """A host in the index: its newest view, its places, and its pools by name."""

    host: HostView
    places: tuple[topology.Place, ...]
    entries: dict[str, Entry]

    @property
    def usable(self) -> bool:
        return self.host.up and self.host.enabled


@dataclass(slots=True, eq=False)
class Entry:
    """A pool in the index, with what every decision wants to know of it."""

    cost: float  # the weight, negated: lists are sorted upwards
    tie: str
    pool: PoolView
    site: Site
    kind: int
    room: int
    thick_room: int

    @property
    def usable(self) -> bool:
        return self.pool.up and self.site.usable


Item = tuple[float, str, Entry]  # the tie is unique, so entries are never compared


@dataclass(slots=True, eq=False)
class View:
    """The pools that one combination of extra specs and zones accepts, best first."""

    ask: Ask
    order: list[Item]
    kinds: dict[int, bool]


class Inventory:
    """The index. Every decision holds `lock`: a walk must not see a pool move."""

    def __init__(self, hosts: Iterable[HostView], rules: Rules | None = None) -> None:
        self.rules = rules or Rules()
        self.lock = threading.RLock()
        listed = list(hosts)
        self.scale = weighers.scale((pool for host in listed for pool in host.pools), self.rules)
        self.sites: dict[str, Site] = {}
        self.entries: dict[str, Entry] = {}
        self.addresses: dict[str, set[str]] = collections.defaultdict(set)  # host@backend → names of pools
        self.groups: dict[tuple[int, topology.Place], list[Site]] = collections.defaultdict(list)
        self._kinds: dict[tuple[str, str, bool, str], int] = {}
        self._samples: list[tuple[HostView, PoolView]] = []
        texts: dict[int, str] = {}  # by identity: thousands of pools often share one mapping
        for host in listed:
            self._add(host, texts)
        usable = sorted((e.cost, e.tie, e) for e in self.entries.values() if e.usable)
        self._all = View(Ask(0), usable, {})
        self._views: collections.OrderedDict[tuple[extra_specs.Items, frozenset[str]], View] = collections.OrderedDict()
        self.by_memory = sorted((-site.host.memory_mib_free, name) for name, site in self.sites.items())

    def _add(self, host: HostView, texts: dict[int, str]) -> None:
        if host.name in self.sites:
            raise errors.Invalid(f"host {host.name} is listed twice")
        site = Site(host, topology.places(host.name, host.labels, self.rules.levels), {})
        self.sites[host.name] = site
        for at, place in enumerate(site.places):
            if place is not None:
                self.groups[at, place].append(site)
        for pool in host.pools:
            text = texts.get(id(pool.capabilities))
            if text is None:
                text = texts[id(pool.capabilities)] = _canonical(pool.capabilities)
            self._put(site, pool, self._kind(site, pool, text))

    def _kind(self, site: Site, pool: PoolView, text: str) -> int:
        key = (pool.zone, pool.backend_name, pool.thin, text)
        kind = self._kinds.get(key)
        if kind is None:
            kind = self._kinds[key] = len(self._samples)
            self._samples.append((site.host, pool))
        return kind

    def _put(self, site: Site, pool: PoolView, kind: int) -> Entry:
        if pool.host != site.host.name:
            raise errors.Invalid(f"pool {pool.name} says host {pool.host} and is listed under {site.host.name}")
        rules = self.rules
        tie = pool.name if rules.seed is None else f"{zlib.crc32(f'{rules.seed}:{pool.name}'.encode()):08x}{pool.name}"
        room = max(filters.room_gib(pool, rules, thick=False), 0)
        thick_room = max(filters.room_gib(pool, rules, thick=True), 0) if pool.thin else room
        entry = Entry(-self.scale.weight(pool, rules), tie, pool, site, kind, room, thick_room)
        site.entries[pool.name] = self.entries[pool.name] = entry
        self.addresses[pool.address].add(pool.name)
        return entry

    # changes between refreshes -----------------------------------------------

    def replace(self, pool: PoolView) -> None:
        """A pool has changed, or is new on a host that is known."""
        with self.lock:
            site = self._site(pool.host)
            old = self.entries.get(pool.name)
            if old is not None and old.site is not site:
                raise errors.Invalid(f"pool {pool.name} is on host {old.site.host.name}, not on {pool.host}")
            if old is not None:
                self._move(old, bisect_out=True)
            kind = old.kind if old is not None and _same_kind(old.pool, pool) else None
            if kind is None:
                kind = self._kind(site, pool, _canonical(pool.capabilities))
            entry = self._put(site, pool, kind)
            self._move(entry, bisect_out=False)
            pools = tuple(entry.pool for entry in site.entries.values())
            site.host = dataclasses.replace(site.host, pools=pools)

    def replace_host(self, host: HostView) -> None:
        """The room for instances, or the health, of a host has changed. Its pools and labels stay as they are."""
        with self.lock:
            site = self._site(host.name)
            was, now = site.usable, host.up and host.enabled
            if was and not now:
                for entry in site.entries.values():
                    self._move(entry, bisect_out=True)
            at = bisect.bisect_left(self.by_memory, (-site.host.memory_mib_free, host.name))
            del self.by_memory[at]
            bisect.insort(self.by_memory, (-host.memory_mib_free, host.name))
            site.host = dataclasses.replace(host, labels=site.host.labels, pools=site.host.pools)
            if now and not was:
                for entry in site.entries.values():
                    self._move(entry, bisect_out=False)

    def update(self, host: HostView) -> bool:
        """A host is like this now, with its pools; it may be a new one. False where that takes a new inventory: it has
        moved, or a pool of it is gone."""
        with self.lock:
            site = self.sites.get(host.name)
            if site is None:
                self._add(host, {})
                for entry in self.sites[host.name].entries.values():
                    self._move(entry, bisect_out=False)
                bisect.insort(self.by_memory, (-host.memory_mib_free, host.name))
                return True
            if site.host.labels != host.labels:
                return False
            if not site.entries.keys() <= {pool.name for pool in host.pools}:
                return False
            self.replace_host(host)
            for pool in host.pools:
                known = site.entries.get(pool.name)
                if known is None or known.pool != pool:
                    self.replace(pool)
            return True

    def _site(self, name: str) -> Site:
        if name not in self.sites:
            raise errors.NotFound(f"Host {name} is not in the inventory; it needs a refresh.")
        return self.sites[name]

    def _move(self, entry: Entry, *, bisect_out: bool) -> None:
        """Takes an entry out of every list that it belongs to, or puts it in. Unusable entries are in none."""
        if not entry.usable:
            return
        for view in (self._all, *self._views.values()):
            if view is self._all or self.accepts(view, entry.kind):
                at = bisect.bisect_left(view.order, (entry.cost, entry.tie))
                if bisect_out:
                    del view.order[at]
                else:
                    view.order.insert(at, (entry.cost, entry.tie, entry))

    # what a decision uses ----------------------------------------------------

    def view(self, ask: Ask) -> View:
        """The view for the extra specs and zones of this ask; the least used one is dropped when there are many."""
        items = filters.items_of(ask)
        if not items and not ask.zones:
            return self._all
        key = (items, ask.zones)
        view = self._views.get(key)
        if view is None:
            view = View(Ask(0, dict(items), ask.zones), [], {})
            kinds = [self.accepts(view, kind) for kind in range(len(self._samples))]
            view.order = [item for item in self._all.order if kinds[item[2].kind]]
            self._views[key] = view
            if len(self._views) > VIEWS_MAX:
                self._views.popitem(last=False)
        else:
            self._views.move_to_end(key)
        return view

    def accepts(self, view: View, kind: int) -> bool:
        """Whether the view takes this kind of pool, worked out at the first question."""
        known = view.kinds.get(kind)
        if known is None:
            host, pool = self._samples[kind]
            checks = filters.LASTING.values()
            known = view.kinds[kind] = all(check(host, pool, view.ask, self.rules) is None for check in checks)
        return known


class Selection:
    """The pools that pass every filter of one ask, best first, found only as far as somebody looks."""

    def __init__(self, inventory: Inventory, ask: Ask, near: str | None) -> None:
        self.inventory, self.ask = inventory, ask
        self.near = inventory.sites.get(near) if near and inventory.scale.locality else None
        self.view = inventory.view(ask)
        self.thick = extra_specs.compiled(filters.items_of(ask)).thick
        self.checks = filters.passing(ask)
        self._gains: dict[str, float] = {}

    def room(self, entry: Entry) -> int:
        return entry.thick_room if self.thick else entry.room

    def admits(self, entry: Entry) -> bool:
        if self.ask.size_gib > self.room(entry) or not entry.usable:
            return False
        if not self.inventory.accepts(self.view, entry.kind):
            return False
        return not self.checks or self._checked(entry)

    def _checked(self, entry: Entry) -> bool:
        rules, host = self.inventory.rules, entry.site.host
        return all(check(host, entry.pool, self.ask, rules) is None for check in self.checks)

    def gain(self, site: Site) -> float:
        """What a pool on this host weighs more because of where the host is."""
        if self.near is None:
            return 0.0
        known = self._gains.get(site.host.name)
        if known is None:
            known = self.inventory.scale.closeness(topology.distance(site.places, self.near.places))
            self._gains[site.host.name] = known
        return known

    def item(self, entry: Entry) -> Item:
        return (entry.cost - self.gain(entry.site), entry.tie, entry)

    def among(self, sites: Iterable[Site]) -> list[Item]:
        """The admitted pools of a few hosts, best first."""
        return sorted(self.item(entry) for site in sites for entry in site.entries.values() if self.admits(entry))

    def walk(self) -> Iterator[Item]:
        """All admitted pools, best first."""
        named = self.ask.pinned if self.ask.pinned else self.ask.same_host
        if named is not None and len(named) < len(self.inventory.sites):
            yield from sorted(self.item(entry) for entry in self._named(named) if self.admits(entry))
            return
        if self.near is not None:
            yield from heapq.merge(*self._tiers(self.near))
            return
        size, thick, checks = self.ask.size_gib, self.thick, self.checks
        by_room = self.inventory.scale.by_room
        for item in self.view.order:
            entry = item[2]
            if size > entry.room:
                if by_room:
                    return  # whatever follows has less room
            elif not (thick and size > entry.thick_room) and (not checks or self._checked(entry)):
                yield item

    def _named(self, names: Iterable[str]) -> Iterator[Entry]:
        entries, addresses = self.inventory.entries, self.inventory.addresses
        for name in {pool for listed in names for pool in (listed, *addresses.get(listed, ()))}:
            if name in entries:
                yield entries[name]

    def _tiers(self, near: Site) -> Iterator[Iterator[Item]]:
        """One ascending stream for each distance from `near`: within a distance all pools gain the same."""
        for at, place in enumerate(near.places):
            members = self.inventory.groups.get((at, place), []) if place is not None else []
            if 8 * len(members) < len(self.inventory.sites):
                inside = [site for site in members if topology.distance(site.places, near.places) == at]
                yield iter(self.among(inside))
            else:
                yield self._tier(self.inventory.scale.closeness(at))
        yield self._tier(self.inventory.scale.closeness(len(near.places)))

    def _tier(self, gain: float) -> Iterator[Item]:
        for cost, tie, entry in self.view.order:
            if self.ask.size_gib <= entry.room and self.gain(entry.site) == gain and self.admits(entry):
                yield (cost - gain, tie, entry)


def _canonical(capabilities: Mapping[str, Any]) -> str:
    lasting = {key: value for key, value in capabilities.items() if key not in extra_specs.FIGURES}
    return json.dumps(lasting, sort_keys=True, default=repr)


def _same_kind(a: PoolView, b: PoolView) -> bool:
    alike = (a.zone, a.backend_name, a.thin) == (b.zone, b.backend_name, b.thin)
    return alike and a.capabilities is b.capabilities
