"""Making content unreadable for whoever gets the space next: one engine for every block device and file.

The method is the quickest that the device is known to do. No answer of a device is believed: what was erased is read
back past the page cache, and where old content still shows the next method begins at the beginning. The work goes in
chunks, each on the disk before the next one begins, so that a death costs little and a repeat goes on where `note`
was told last.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import random
import stat
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from brickyard.brick import falloc, faults
from brickyard.brick.driver import Progress
from brickyard.core import clock, errors
from brickyard.core.bricks import WipeMethod
from brickyard.core.sizes import GIB, KIB, MIB

BLKZEROOUT = 0x127F  # <linux/fs.h>; the first byte and the length, as two 64-bit numbers
CHUNK_BYTES = 32 * MIB  # between two fsyncs and two looks at the rate
NOTE_BYTES = GIB  # between two notes: what a death costs at most
WRITE_BYTES = 4 * MIB
ALIGNMENT = 4096
BURST_S = 0.5  # how much of a pause is made up for afterwards
READ_ALL_BYTES = 64 * MIB  # up to here every byte is read back
SAMPLES, SAMPLE_BYTES = 1024, 64 * KIB
CANNOT = (errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL, errno.ENOSYS, errno.EREMOTEIO, errno.EIO)
BUSY_TRIES, BUSY_PAUSE_S = 20, 0.1

Act = Callable[[int, int, int], None]  # what a method does: descriptor, first byte, length


@dataclass(frozen=True, slots=True)
class Region:
    """The bytes of an open device or file that are to be erased."""

    descriptor: int
    path: str
    begin: int
    end: int


class Unable(Exception):
    """The device does not know this method, or does not keep what the method promises: the next one, please."""


class Pace:
    """When the next bytes may go, so that no second sees more than the rate, a short burst aside."""

    def __init__(self, rate_bytes_s: int | None) -> None:
        self._rate_bytes_s = rate_bytes_s
        self._next = clock.monotonic()

    def wait(self, size_bytes: int) -> None:
        """Wait until `size_bytes` more may be sent. Without a rate that is at once."""
        if self._rate_bytes_s is None:
            return
        now = clock.monotonic()
        begin = max(self._next, now - BURST_S)
        if begin > now:
            clock.sleep(begin - now)
        self._next = begin + size_bytes / self._rate_bytes_s

    def chunk_bytes(self) -> int:
        """A slow rate takes small steps: about four in a second, whole MiBs."""
        if self._rate_bytes_s is None:
            return CHUNK_BYTES
        return min(CHUNK_BYTES, max(1, self._rate_bytes_s // 4 // MIB) * MIB)


def erase(
    path: str,
    size_bytes: int,
    *,
    begin: int = 0,
    start: int = 0,
    note: Callable[[int], None] | None = None,
    progress: Progress | None = None,
    rate_bytes_s: int | None = None,
) -> tuple[WipeMethod, str]:
    """Make the bytes from `begin` to `size_bytes` of a device or file read as zeros; how, and how it was verified.

    `start` is the last offset that `note` was told by a call that died: what lies before it is on the disk already. A
    note may go back, when a method turns out not to do what it promises. `rate_bytes_s` bounds what is sent to the
    device in a second. A block device is opened exclusively: what is mounted or held is never erased (DeviceInUse),
    and two erasures of one device do not meet. BrickError when even written zeros cannot be read back.
    """
    with _opened(path, size_bytes) as descriptor:
        region = Region(descriptor, path, begin, size_bytes)
        position = min(max(begin, start), size_bytes)
        return by(_methods(descriptor), region, position, Pace(rate_bytes_s), note, _only_forward(progress))


def by(
    methods: Sequence[tuple[WipeMethod, Act]],
    region: Region,
    position: int,
    pace: Pace,
    note: Callable[[int], None] | None,
    progress: Progress | None,
) -> tuple[WipeMethod, str]:
    """The first of these methods after which zeros are read back."""
    for number, (method, act) in enumerate(methods):
        try:
            _pass(region, act, position, pace, note, progress)
            return method, _verify(region)
        except Unable as why:
            if number == len(methods) - 1:
                raise errors.BrickError(
                    f"{region.path} cannot be erased: {why}; take the device out of use, it does not keep what is "
                    "written"
                ) from None
            position = region.begin  # what a method that failed has left is not to be relied on
            if note is not None:
                note(position)
    raise AssertionError  # the last method returns or raises


def _only_forward(progress: Progress | None) -> Progress | None:
    """Progress never goes back, not even when a second method begins at the beginning."""
    if progress is None:
        return None
    furthest = 0

    def tell(done: int, total: int) -> None:
        nonlocal furthest
        furthest = max(furthest, done)
        progress(furthest, total)

    return tell


def reads_as_zeros(path: str, begin: int, end: int) -> str | None:
    """In words what was read back of these bytes, all zeros; None if something else was there."""
    with open(path, "rb", buffering=0) as file:
        try:
            return _verify(Region(file.fileno(), path, begin, end))
        except Unable:
            return None


# the methods ------------------------------------------------------------------------------------------------------


def _methods(descriptor: int) -> list[tuple[WipeMethod, Act]]:
    """What this device can be asked, the quickest first. A file is simply overwritten."""
    methods: list[tuple[WipeMethod, Act]] = [(WipeMethod.OVERWRITE, _overwrite)]
    status = os.fstat(descriptor)
    if not stat.S_ISBLK(status.st_mode):
        return methods
    queue = _queue(status.st_rdev)
    zeroes = _figure(queue, "write_zeroes_max_bytes") > 0
    if zeroes:
        methods.insert(0, (WipeMethod.WRITE_ZEROES, _write_zeroes))
    if _figure(queue, "discard_max_bytes") > 0:
        if _figure(queue, "discard_zeroes_data") > 0:
            methods.insert(0, (WipeMethod.DISCARD, _discard))
        elif zeroes:
            methods.insert(0, (WipeMethod.DISCARD, _punch))
    return methods


def _discard(descriptor: int, begin: int, length: int) -> None:
    _asked(lambda: falloc.discard(descriptor, begin, length))


def _write_zeroes(descriptor: int, begin: int, length: int) -> None:
    _asked(lambda: fcntl.ioctl(descriptor, BLKZEROOUT, struct.pack("QQ", begin, length)))


def _punch(descriptor: int, begin: int, length: int) -> None:
    """Give the blocks back in the one way of which today's kernels say that zeros are read afterwards: on a block
    device a hole is a request to write zeros that may unmap, and never a bare discard, of which nothing is known."""
    _asked(lambda: falloc.punch(descriptor, begin, length))


def _overwrite(descriptor: int, begin: int, length: int) -> None:
    zeros = memoryview(bytes(min(WRITE_BYTES, length)))
    end = begin + length
    while begin < end:
        begin += os.pwrite(descriptor, zeros[: end - begin], begin)


def _asked(act: Callable[[], object]) -> None:
    """A device that cannot do what its queue offers is no failure: zeros can still be written to it."""
    try:
        act()
    except OSError as error:
        if error.errno in CANNOT:
            raise Unable(f"{error.strerror}") from error
        raise


def _pass(
    region: Region,
    act: Act,
    position: int,
    pace: Pace,
    note: Callable[[int], None] | None,
    progress: Progress | None,
) -> None:
    """One method over everything that is left, chunk by chunk."""
    noted = position
    while position < region.end:
        length = min(pace.chunk_bytes(), region.end - position)
        pace.wait(length)
        with faults.step("erase"):
            act(region.descriptor, position, length)
        with faults.step("fsync"):
            os.fsync(region.descriptor)
        os.posix_fadvise(region.descriptor, position, length, os.POSIX_FADV_DONTNEED)
        position += length
        if note is not None and (position - noted >= NOTE_BYTES or position == region.end):
            note(position)
            noted = position
        if progress is not None:
            progress(position - region.begin, region.end - region.begin)


# the device -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _opened(path: str, size_bytes: int) -> Iterator[int]:
    is_device = stat.S_ISBLK(os.stat(path).st_mode)
    descriptor = _exclusively(path) if is_device else os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        there = os.lseek(descriptor, 0, os.SEEK_END)
        if there < size_bytes:
            raise errors.BrickMismatch(
                f"{path} has {there} bytes and {size_bytes} are to be erased: look at the pool, then repeat"
            )
        yield descriptor
    finally:
        os.close(descriptor)


def _exclusively(path: str) -> int:
    """Open a block device that nobody mounts or holds. Who holds it for a moment, as a scan does, is waited for."""
    for attempt in range(BUSY_TRIES):
        try:
            return os.open(path, os.O_RDWR | os.O_EXCL | os.O_CLOEXEC)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            if attempt == BUSY_TRIES - 1:
                raise errors.DeviceInUse(
                    f"{path} is not erased: it is mounted or held by something else; let that go, then repeat"
                ) from error
        clock.sleep(BUSY_PAUSE_S)
    raise AssertionError  # the last attempt returns or raises


def _queue(device: int) -> str:
    """The directory where the kernel tells what a device can do; a partition can what its disk can."""
    place = os.path.realpath(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}")
    if os.path.exists(os.path.join(place, "partition")):
        place = os.path.dirname(place)
    return os.path.join(place, "queue")


def _figure(queue: str, name: str) -> int:
    try:
        with open(os.path.join(queue, name), encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return 0  # a kernel that does not say so cannot


# reading back -----------------------------------------------------------------------------------------------------


def _verify(region: Region) -> str:
    """In words what was read back; Unable at the first byte that is not zero."""
    size_bytes = region.end - region.begin
    with _reader(region.path) as read:
        if size_bytes <= READ_ALL_BYTES:
            _expect_zeros(read, region.begin, region.end)
            return f"all {size_bytes} bytes were read back as zeros"
        _expect_zeros(read, region.begin, region.begin + MIB)
        _expect_zeros(read, region.end - MIB, region.end)
        each = size_bytes // SAMPLES
        for number in range(SAMPLES):
            at = region.begin + number * each + random.randrange(max(1, each - SAMPLE_BYTES))
            _expect_zeros(read, at, min(at + SAMPLE_BYTES, region.end))
    return (
        f"zeros were read back from the first and the last MiB and from {SAMPLES} random places, one in each "
        f"{each} bytes, {SAMPLE_BYTES} bytes at a time"
    )


Read = Callable[[int, int], bytes]  # first byte, length → what is on the disk there


def _expect_zeros(read: Read, begin: int, end: int) -> None:
    while begin < end:
        content = read(begin, min(MIB, end - begin))
        if not content or content != ZEROS[: len(content)]:
            raise Unable(f"old content is still read near byte {begin}")
        begin += len(content)


ZEROS = bytes(MIB)


@contextlib.contextmanager
def _reader(path: str) -> Iterator[Read]:
    """Read from the disk and not from the page cache, which knows only what was sent. Where a file system takes no
    direct reads, the pages are dropped first."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        with mmap.mmap(-1, MIB + 2 * ALIGNMENT) as buffer, memoryview(buffer) as view:

            def read(begin: int, length: int) -> bytes:
                # A direct read begins and ends at whole blocks, and in memory too.
                aligned = begin // ALIGNMENT * ALIGNMENT
                whole = -(-(begin + length - aligned) // ALIGNMENT) * ALIGNMENT
                with view[:whole] as into:
                    got = os.preadv(descriptor, [into], aligned)
                with view[begin - aligned : max(begin - aligned, min(got, begin - aligned + length))] as wanted:
                    return bytes(wanted)

            yield read
    finally:
        os.close(descriptor)
