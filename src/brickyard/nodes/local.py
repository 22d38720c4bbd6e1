"""A node in this process: the verbs, done with brick and the hypervisor. A call is a call."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

from brickyard.brick import driver as contract
from brickyard.brick.exports import Exports, Opener
from brickyard.core import errors
from brickyard.core.bricks import Connection, Did, Found, Label, Receipt
from brickyard.core.fullness import Fullness
from brickyard.hypervisor import machine
from brickyard.nodes import contents, copies, fullness, keeping, mirroring, reach, resources, verbs
from brickyard.nodes.backend import Backend as Backend

LOG = logging.getLogger(__name__)
PAUSED_S = 30.0  # that a guest which is paused for a copy is waited for


class LocalNode(contents.Contents, reach.Reach, mirroring.Mirroring):
    """`make(name, options)` builds a Backend from what the API was given. `exports` makes
    what serves its bricks to guests of other hosts, given what opens one."""

    def __init__(
        self,
        *,
        host: str,
        labels: Mapping[str, str],
        vcpus: int,
        memory_mib: int,
        backends: list[Backend],
        hypervisor: machine.Hypervisor | None,
        make: Callable[[str, Mapping[str, Any]], Backend],
        keeper: keeping.Keeper | None = None,
        exports: Callable[[Opener], Exports] | None = None,
    ) -> None:
        self.host, self.labels, self.vcpus, self.memory_mib = host, labels, vcpus, memory_mib
        self.hypervisor, self.make = hypervisor, make
        self.backends = {backend.name: backend for backend in backends}
        self._lock = threading.Lock()
        self.watch = fullness.Watch(self.backends, hypervisor)
        self.on_backends: Callable[[], None] = lambda: None  # what is served, or how, is another thing now
        self._held: dict[str, threading.Lock] = {}  # guest → who pauses it, one at a time
        self.copies = copies.Copies()
        self.keeper = keeper or keeping.Keeper(None)
        self.exporting = exports(self.open_brick) if exports else None

    # what is here -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Load every backend, each failing alone; let go on what a former run of this node had paused and died. What it
        held for a full pool stays held."""
        self.watch.recall(self.guests())
        for backend in list(self.backends.values()):
            self._load(backend)
        for guest in self.guests():
            if guest.status == "paused" and self.hypervisor:
                self.hypervisor.resume(guest.id)

    def report(self) -> verbs.Report:
        return verbs.Report(
            host=self.host,
            labels=self.labels,
            vcpus=self.vcpus,
            memory_mib=self.memory_mib,
            hypervisor=type(self.hypervisor).__name__.lower() if self.hypervisor else None,
            backends=[self._report(backend) for backend in list(self.backends.values())],
            backups=self.keeper.report(),
            export_address=self.export_address,
        )

    def add_backend(self, name: str, options: Mapping[str, Any]) -> verbs.BackendReport:
        with self._lock:
            served = self.backends.get(name)
            if served is None or served.driver is None:
                backend = self.make(name, options)
                self._load(backend)
                if backend.driver is None:
                    raise errors.BrickError(f"Backend {name} does not work: {backend.why_down}")
                self.backends[name] = backend
                self.on_backends()
        return self._report(self.backends[name])

    def remove_backend(self, name: str) -> Did:
        with self._lock:
            if self.backends.pop(name, None) is None:
                return Did.ALREADY
            self.on_backends()
            return Did.CHANGED

    # disks --------------------------------------------------------------------------------------------------------

    def devices(self, paths: Sequence[str] = ()) -> list[verbs.Disk]:
        return resources.listed(self._owners(), paths)

    def claim_devices(
        self, backend: str, paths: Sequence[str], wipe: Sequence[str] = (), driver: str | None = None
    ) -> list[str]:
        return resources.claim(self._owners(), backend, paths, wipe, driver)

    def make_pool(self, backend: str, wish: verbs.Wish) -> dict[str, str]:
        return resources.make(backend, wish)

    def unmake_pool(self, backend: str, driver: str, paths: Sequence[str]) -> Did:
        return resources.unmake(backend, driver, paths)

    def extend_pool(self, backend: str, device: str) -> dict[str, str]:
        served = self._backend(backend)
        return self._reload(served, resources.extend(served.driver_name, served.options, device))

    def grow_pool(self, backend: str, device: str) -> Did:
        return cast(contract.Extender, self._driver(backend)).grow_onto(device)

    def drain_device(
        self, backend: str, device: str, held: Sequence[str] = (), progress: contract.Progress | None = None
    ) -> Did:
        served = self._backend(backend)
        return resources.drain(served.driver_name, served.options, device, held, progress)

    def wipe_moved(self, backend: str, device: str, progress: contract.Progress | None = None) -> list[Receipt]:
        served = self._backend(backend)
        return resources.wipe_moved(served.driver_name, served.options, device, progress)

    def refill_device(self, backend: str, device: str) -> Did:
        served = self._backend(backend)
        return resources.refill(served.driver_name, served.options, device)

    def remove_device(self, backend: str, device: str) -> dict[str, str]:
        served = self._backend(backend)
        return self._reload(served, resources.remove_device(served.driver_name, served.options, device))

    def destroy_pool(self, backend: str, driver: str, options: Mapping[str, Any]) -> Did:
        with self._lock:
            served = self.backends.pop(backend, None)
        try:
            done = resources.destroy(driver, options)
            self.on_backends()
            return done
        except BaseException:
            if served is not None:
                self.backends.setdefault(backend, served)
            raise

    def _owners(self) -> dict[str, Mapping[str, Any]]:
        return {name: backend.options for name, backend in list(self.backends.items())}

    def _reload(self, served: Backend, changed: dict[str, str]) -> dict[str, str]:
        """Serve a backend with options that changed: whoever uses its driver now ends with the old one."""
        made = self.make(served.name, {**served.options, **changed})
        self._load(made)
        with self._lock:
            self.backends[served.name] = made
            self.on_backends()
        return changed

    def _load(self, backend: Backend) -> None:
        try:
            driver = backend.load()
            driver.check()
            backend.driver, backend.why_down = driver, None
        except Exception as error:
            backend.driver, backend.why_down = None, str(error)
            LOG.error("backend %s is down: %s", backend.name, error)

    def _report(self, backend: Backend) -> verbs.BackendReport:
        if backend.driver is None:
            self._load(backend)
        usage = capabilities = None
        full = Fullness()
        why_down = backend.why_down
        if backend.driver is not None:
            try:
                (usage, full), capabilities = self.watch.measure(backend), backend.driver.capabilities
            except Exception as error:
                why_down = str(error)
        return verbs.BackendReport(
            name=backend.name,
            driver=backend.driver_name,
            volume_backend_name=backend.volume_backend_name,
            availability_zone=backend.availability_zone,
            options=backend.options,
            from_api=backend.from_api,
            up=why_down is None,
            why_down=why_down,
            usage=usage,
            capabilities=capabilities,
            fullness=full,
        )

    def _backend(self, backend: str) -> Backend:
        found = self.backends.get(backend)
        if found is None:
            raise errors.Unavailable(f"Host {self.host} has no backend {backend}; it has: {', '.join(self.backends)}.")
        return found

    def _driver(self, backend: str) -> contract.Driver:
        found = self._backend(backend)
        if found.driver is None:
            raise errors.Unavailable(f"Backend {backend} of host {self.host} is down: {found.why_down}")
        return found.driver

    def _open_driver(self, backend: str, brick: str, size_bytes: int = 0) -> contract.Driver:
        """The driver of a pool that is not too full for a new brick, or for the growth of one."""
        driver = self._driver(backend)
        self.watch.admit(self._backend(backend), brick, size_bytes)
        return driver

    # bricks -------------------------------------------------------------------------------------------------------

    def create_brick(
        self, backend: str, label: Label, size_bytes: int, progress: contract.Progress | None = None
    ) -> Did:
        return self._open_driver(backend, label.name).create(label, size_bytes, progress)

    def clone_brick(
        self,
        backend: str,
        source: str,
        label: Label,
        size_bytes: int,
        serial: str | None = None,
        progress: contract.Progress | None = None,
    ) -> Did:
        driver = cast(contract.Cloner, self._open_driver(backend, label.name))
        with self._paused(source, serial):
            return driver.clone(source, label, size_bytes, progress)

    def import_brick(
        self,
        backend: str,
        image: verbs.Image,
        label: Label,
        size_bytes: int,
        progress: contract.Progress | None = None,
    ) -> Did:
        driver = cast(contract.Importer, self._open_driver(backend, label.name))
        return driver.import_image(label, image.path, image.format, size_bytes, progress)

    def snapshot_brick(self, backend: str, name: str, label: Label, progress: contract.Progress | None = None) -> Did:
        driver = cast(contract.Snapshotter, self._open_driver(backend, label.name))
        with self._paused(name, copies.serial_of(name)):
            return driver.snapshot(name, label, progress)

    def revert_brick(self, backend: str, name: str, snapshot: str, progress: contract.Progress | None = None) -> Did:
        self.unserved(backend, name)
        return cast(contract.Reverter, self._driver(backend)).revert(name, snapshot, progress)

    def grow_brick(self, backend: str, name: str, size_bytes: int, progress: contract.Progress | None = None) -> Did:
        driver = self._open_driver(backend, name, size_bytes)
        guests = self._guests_with(copies.serial_of(name))
        if self.exporting is not None and self.exporting.serves(name):
            if guests:
                raise errors.GuestError(f"brick {name} is used by guests of several hosts, and cannot grow meanwhile")
            with self.exporting.closed(name):
                return driver.grow(name, size_bytes, progress)
        if not guests or self.hypervisor is None:
            return driver.grow(name, size_bytes, progress)
        if driver.open(name).format == "raw":
            driver.grow(name, size_bytes, progress)
        for guest in guests:
            self.hypervisor.resized(guest, copies.serial_of(name), size_bytes)
        # QEMU has grown an image that has a header of its own; the driver records the new size, or finds it grown.
        return driver.grow(name, size_bytes)

    def wipe_brick(self, backend: str, name: str, progress: contract.Progress | None = None) -> Receipt:
        self.unserved(backend, name)
        return cast(contract.Wiper, self._driver(backend)).wipe(name, progress)

    def delete_brick(self, backend: str, name: str) -> Did:
        self.unserved(backend, name)
        return self._driver(backend).delete(name)

    def relabel_brick(self, backend: str, label: Label) -> Did:
        return self._driver(backend).relabel(label)

    def open_brick(self, backend: str, name: str) -> Connection:
        return self._driver(backend).open(name)

    def close_brick(self, backend: str, name: str) -> Did:
        return self._driver(backend).close(name)

    def bricks(self, backend: str) -> list[Found]:
        return list(self._driver(backend).list())

    def find_brick(self, backend: str, name: str) -> Found | None:
        return self._driver(backend).find(name)

    def leftovers(self, backend: str) -> dict[str, tuple[str, ...]]:
        driver = self._driver(backend)
        return driver.leftovers() if isinstance(driver, contract.Tidier) else {}

    def tidy_brick(self, backend: str, name: str) -> Did:
        driver = self._driver(backend)
        return driver.tidy(name) if isinstance(driver, contract.Tidier) else Did.ALREADY

    def strangers(self, backend: str) -> list[Found]:
        return list(cast(contract.Adopter, self._driver(backend)).strangers())

    def adopt_brick(self, backend: str, name: str, label: Label) -> Did:
        return cast(contract.Adopter, self._driver(backend)).adopt(name, label)

    def disown_brick(self, backend: str, name: str) -> Did:
        return cast(contract.Adopter, self._driver(backend)).disown(name)

    # guests -------------------------------------------------------------------------------------------------------

    def boot(self, boot: verbs.Boot) -> Did:
        guest = machine.Guest(
            id=boot.id,
            name=boot.name,
            vcpus=boot.vcpus,
            memory_mib=boot.memory_mib,
            disks=tuple(self._disk(disk) for disk in boot.disks),
            kernel=boot.kernel,
            initrd=boot.initrd,
            cmdline=boot.cmdline,
        )
        with self.copies.giving([disk.serial for disk in guest.disks], lambda: self._runs(guest.id)):
            return self._hypervisor().boot(guest)

    def stop(self, id: str) -> Did:
        """One that is paused, since a disk of it is copied, could only be switched off."""
        pausing = self._held.setdefault(id, threading.Lock())
        if not pausing.acquire(timeout=PAUSED_S):
            raise errors.GuestError(f"guest {id} is paused while a disk of it is copied; stop it when that is done")
        try:
            return self._hypervisor().stop(id)
        finally:
            pausing.release()

    def destroy(self, id: str) -> Did:
        return self._hypervisor().destroy(id)

    def attach(self, id: str, disk: verbs.BrickDisk) -> Did:
        with self.copies.giving([disk.serial], lambda: id in self._guests_with(disk.serial)):
            return self._hypervisor().attach(id, self._disk(disk))

    def detach(self, id: str, serial: str) -> Did:
        return self._hypervisor().detach(id, serial)

    def resize_disk(self, id: str, serial: str, size_bytes: int) -> Did:
        return self._hypervisor().resized(id, serial, size_bytes)

    def console(self, id: str, max_bytes: int = 65536) -> str:
        return self._hypervisor().console(id, max_bytes)

    def guests(self) -> list[machine.Running]:
        return self.hypervisor.list() if self.hypervisor else []

    def _hypervisor(self) -> machine.Hypervisor:
        if self.hypervisor is None:
            raise errors.Unavailable(f"Host {self.host} runs no instances: no hypervisor is configured there.")
        return self.hypervisor

    def _disk(self, disk: verbs.BrickDisk) -> machine.Disk:
        if disk.export is not None:
            return machine.Disk(disk.serial, "", "raw", disk.read_only, disk.shared, disk.export)
        found = self._driver(disk.backend).open(disk.brick)
        return machine.Disk(disk.serial, found.path, found.format, read_only=disk.read_only, shared=disk.shared)

    def _runs(self, id: str) -> bool:
        return any(guest.id == id and guest.status != "stopped" for guest in self.guests())

    def _guests_with(self, serial: str) -> list[str]:
        """The running guests of this node that have the disk, in one order for everybody who holds several."""
        return sorted(g.id for g in self.guests() if serial in g.serials and g.status != "stopped")

    @contextlib.contextmanager
    def _paused(self, name: str, serial: str | None) -> Iterator[None]:
        """Hold the guests that use a brick, if there are any: it is flushed, and what is copied is consistent. Those of
        other hosts wait for their writes."""
        with contextlib.ExitStack() as held:
            if serial is not None:
                held.enter_context(self.copies.copying(serial))
            for guest in self._guests_with(serial) if serial else ():
                held.enter_context(self._held.setdefault(guest, threading.Lock()))
                held.callback(self._hypervisor().resume, guest)
                self._hypervisor().pause(guest)
            if serial is not None:
                held.enter_context(self.still(name))
            yield
