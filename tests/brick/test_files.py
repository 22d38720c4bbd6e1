"""What file bricks promise beyond the contract: their modes, their locks, and what others leave in a pool."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
import uuid
from pathlib import Path
from typing import Any

import pytest

from brickyard import brick
from brickyard.brick import faults, labels, locks, qcow2, raw, steps, vdi
from brickyard.core import errors
from brickyard.core.bricks import Did

SIZE = 4 * brick.MIB


def volume() -> brick.Label:
    return brick.Label(brick.Kind.VOLUME, str(uuid.uuid4()), "demo")


@pytest.mark.parametrize("kind", [raw, qcow2, vdi])
def test_every_file_of_a_pool_is_for_its_owner_alone(tmp_path: Path, kind: Any) -> None:
    driver = kind.driver(str(tmp_path))
    one, two = volume(), volume()
    driver.create(one, SIZE)
    driver.clone(one.name, two, SIZE)
    driver.grow(one.name, 2 * SIZE)
    assert {stat.S_IMODE(entry.stat().st_mode) for entry in os.scandir(tmp_path)} == {0o600}


def test_a_long_copy_does_not_keep_other_bricks_waiting(tmp_path: Path) -> None:
    driver = raw.driver(str(tmp_path))
    source, clone, other = volume(), volume(), volume()
    driver.create(source, SIZE)
    copying, go_on = threading.Event(), threading.Event()
    slow = threading.Thread(target=driver.clone, args=(source.name, clone, SIZE))

    def hook(name: str) -> None:
        if name == "before copy" and threading.current_thread() is slow:
            copying.set()
            assert go_on.wait(30)

    with faults.installed(hook):
        slow.start()
        assert copying.wait(30)
        assert driver.create(other, SIZE) is Did.CHANGED
        assert driver.find(clone.name) is None
        go_on.set()
        slow.join()
    assert driver.find(clone.name) is not None


def test_what_is_not_a_brick_is_neither_listed_nor_touched(tmp_path: Path) -> None:
    driver = raw.driver(str(tmp_path))
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / volume().name).mkdir()
    assert list(driver.list()) == []


def test_a_file_without_a_label_is_listed_and_never_taken_for_ours(tmp_path: Path) -> None:
    driver, label = raw.driver(str(tmp_path)), volume()
    (tmp_path / label.name).write_bytes(bytes(SIZE))
    [found] = driver.list()
    assert (found.label, found.size_bytes) == (None, SIZE)
    for verb in (lambda: driver.create(label, SIZE), lambda: driver.grow(label.name, 2 * SIZE)):
        with pytest.raises(errors.BrickMismatch, match="label"):
            verb()


def test_a_brick_of_another_format_is_refused(tmp_path: Path) -> None:
    label = volume()
    qcow2.driver(str(tmp_path)).create(label, SIZE)
    with pytest.raises(errors.BrickMismatch, match="qcow2"):
        raw.driver(str(tmp_path)).open(label.name)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"kind": "volume"}', b"[" * 60000, b"\xff"])
def test_a_broken_label_is_an_error_that_says_what_to_do(tmp_path: Path, content: bytes) -> None:
    driver, label = raw.driver(str(tmp_path)), volume()
    driver.create(label, SIZE)
    Path(labels.path_of(str(tmp_path), label.name)).write_bytes(content)
    assert [found.label for found in driver.list()] == [None]
    with pytest.raises(errors.BrickMismatch, match="restore it or move it away"):
        driver.open(label.name)


@pytest.mark.parametrize("kind", ["fifo", "link", "directory"])
def test_what_is_no_file_where_a_label_should_be_holds_up_nobody(tmp_path: Path, kind: str) -> None:
    driver, label = raw.driver(str(tmp_path)), volume()
    driver.create(label, SIZE)
    path = Path(labels.path_of(str(tmp_path), label.name))
    path.unlink()
    if kind == "fifo":
        os.mkfifo(path)  # an open that waited for a writer would wait for ever
    elif kind == "link":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    assert [found.label for found in driver.list()] == [None]
    with pytest.raises(errors.BrickMismatch, match="restore it or move it away"):
        driver.open(label.name)


def test_a_label_of_a_later_release_is_read(tmp_path: Path) -> None:
    driver, label = raw.driver(str(tmp_path)), volume()
    driver.create(label, SIZE)
    path = Path(labels.path_of(str(tmp_path), label.name))
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": 2, "colour": "red"}))
    assert driver.create(label, SIZE) is Did.ALREADY


def test_the_size_is_true_after_a_running_guest_has_grown_its_image(tmp_path: Path) -> None:
    driver, label = qcow2.driver(str(tmp_path)), volume()
    driver.create(label, SIZE)
    subprocess.run(["qemu-img", "resize", "-q", "-f", "qcow2", tmp_path / label.name, str(2 * SIZE)], check=True)
    assert driver.open(label.name).size_bytes == 2 * SIZE
    assert driver.usage().provisioned_bytes == 2 * SIZE
    assert driver.grow(label.name, 2 * SIZE) is Did.CHANGED  # the label learns of it
    assert driver.grow(label.name, 2 * SIZE) is Did.ALREADY


def test_a_pool_that_is_gone_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    driver = brick.Guard(raw.driver(str(tmp_path / "absent")), "pool-1")
    with pytest.raises(errors.BrickError, match="mount or create it"):
        driver.check()
    with pytest.raises(errors.BrickError, match="pool-1"):
        driver.create(volume(), SIZE)


def test_the_library_needs_nothing_but_the_standard_library_and_core() -> None:
    script = (
        "import sys; before = set(sys.modules); import brickyard.brick\n"
        "new = {name.split('.')[0] for name in set(sys.modules) - before}\n"
        "others = {n for n in new if n not in sys.stdlib_module_names} - {'brickyard'}\n"
        "parts = {n.split('.')[1] for n in sys.modules if n.startswith('brickyard.')}\n"
        "assert not others, others\n"
        "assert parts == {'brick', 'core'}, parts\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


# what is not ours ------------------------------------------------------------------------------------------------


def qemu_img(*words: Any) -> None:
    subprocess.run(["qemu-img", *map(str, words)], check=True, capture_output=True)


def test_a_file_with_a_backing_file_is_not_adopted(tmp_path: Path) -> None:
    driver, label = qcow2.driver(str(tmp_path)), volume()
    qemu_img("create", "-f", "raw", tmp_path / "secret", SIZE)
    qemu_img("create", "-f", "qcow2", "-F", "raw", "-b", tmp_path / "secret", tmp_path / label.name)
    for _ in range(2):
        with pytest.raises(errors.UnsafeImage, match="backing"):
            driver.adopt(label.name, label)
    assert [found.label for found in driver.list()] == [None]


def test_what_is_another_format_a_link_or_hidden_is_not_adopted(tmp_path: Path) -> None:
    driver = raw.driver(str(tmp_path))
    qemu_img("create", "-f", "qcow2", tmp_path / "image", SIZE)
    (tmp_path / "link").symlink_to(tmp_path / "image")
    (tmp_path / "file").write_bytes(bytes(SIZE))
    os.link(tmp_path / "file", tmp_path / "twin")
    (tmp_path / ".hidden").write_bytes(bytes(SIZE))
    (tmp_path / "odd").write_bytes(bytes(SIZE + 1))
    (tmp_path / "empty").write_bytes(b"")
    for name, error, words in (
        ("image", errors.UnsafeImage, "qcow2"),
        ("link", errors.NotFound, "no file"),
        ("file", errors.Invalid, "hard link"),
        (".hidden", errors.Invalid, "hidden"),
        ("odd", errors.Invalid, "truncate"),
        ("empty", errors.Invalid, "0 bytes"),
    ):
        with pytest.raises(error, match=words):
            driver.adopt(name, volume())
    assert not [entry for entry in os.listdir(tmp_path) if "volume-" in entry]


def test_two_who_adopt_one_file_make_one_brick_of_it(tmp_path: Path) -> None:
    driver, labels_ = raw.driver(str(tmp_path)), [volume() for _ in range(8)]
    (tmp_path / "found").write_bytes(bytes(SIZE))
    start, done = threading.Barrier(8), []

    def adopt(label: brick.Label) -> None:
        start.wait()
        try:
            done.append(driver.adopt("found", label))
        except errors.NotFound:
            done.append(None)

    threads = [threading.Thread(target=adopt, args=(label,)) for label in labels_]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, done)) == ["None"] * 7 + ["changed"]
    assert len(list(driver.list())) == 1
    assert driver.leftovers() == {}


def test_leftovers_of_the_dead_are_told_from_the_work_of_the_living(tmp_path: Path) -> None:
    driver, label, dead = raw.driver(str(tmp_path)), volume(), volume()
    driver.create(label, SIZE)
    (tmp_path / f".{dead.name}.tmp").write_bytes(b"half")
    (tmp_path / f".{label.name}.spare").write_bytes(b"half")
    (tmp_path / ".notes.tmp").write_bytes(b"mine")
    left = {label.name: (f".{label.name}.spare",), dead.name: (f".{dead.name}.tmp",)}
    assert driver.leftovers() == left
    with locks.held(str(tmp_path), dead.name):
        assert driver.leftovers() == {label.name: left[label.name]}
    for name in left:
        assert driver.tidy(name) is Did.CHANGED
        assert driver.tidy(name) is Did.ALREADY
    assert driver.leftovers() == {}
    assert [found.label for found in driver.list()] == [label]
    assert (tmp_path / ".notes.tmp").exists()


def test_a_brick_whose_label_is_broken_is_not_deleted(tmp_path: Path) -> None:
    driver, label = raw.driver(str(tmp_path)), volume()
    driver.create(label, SIZE)
    Path(labels.path_of(str(tmp_path), label.name)).write_bytes(b"{")
    with pytest.raises(errors.BrickMismatch, match="restore it"):
        driver.delete(label.name)
    assert (tmp_path / label.name).exists()


# alone -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [raw, qcow2, vdi])
def test_a_full_copy_tells_how_far_it_is_all_the_way(tmp_path: Path, kind: Any, monkeypatch: Any) -> None:
    """Holes are passed over, and what lies before them is told."""
    monkeypatch.setattr(steps, "can_share", lambda directory: False)
    (tmp_path / "pool").mkdir()
    pool = kind.driver(str(tmp_path / "pool"))
    image = tmp_path / "image"
    with open(image, "wb") as file:
        file.write(b"\x11" * 3 * steps.COPY_BYTES)
        file.seek(20 * steps.COPY_BYTES)
        file.write(b"\x12" * 2 * steps.COPY_BYTES)
        file.truncate(40 * steps.COPY_BYTES)
    label, copy = volume(), volume()
    for verb in (
        lambda tell: pool.import_image(label, str(image), "raw", 40 * steps.COPY_BYTES, tell),
        lambda tell: pool.clone(label.name, copy, 40 * steps.COPY_BYTES, tell),
    ):
        told: list[tuple[int, int]] = []
        assert verb(lambda done, total, told=told: told.append((done, total))) is Did.CHANGED
        assert len({done for done, _ in told}) >= 5
        assert told == sorted(told)
        assert told[-1][0] == told[-1][1]


def test_allocating_in_advance_tells_how_far_it_is(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    (tmp_path / "file").touch()
    steps.allocate(str(tmp_path / "file"), 5 * brick.MIB, lambda *figures: told.append(figures))
    assert told == [(5 * brick.MIB, 5 * brick.MIB)]
    assert (tmp_path / "file").stat().st_blocks * 512 >= 5 * brick.MIB


ALONE = """
import sys
sys.path.insert(0, sys.argv[1])
from brickyard import brick
from brickyard.core import errors
driver = brick.load("raw", {"path": sys.argv[2]})
driver.check()
label = brick.Label(brick.Kind.VOLUME, "0c1a4a5e-9a08-4c43-9cb5-ee24e4a2a2a1", "demo")
kept = brick.Label(brick.Kind.SNAPSHOT, "1c1a4a5e-9a08-4c43-9cb5-ee24e4a2a2a1", "demo", parent=label.id)
assert driver.create(label, brick.MIB) is brick.Did.CHANGED
with open(driver.open(label.name).path, "r+b") as file:
    file.write(b"first")
driver.snapshot(label.name, kept)
driver.grow(label.name, 2 * brick.MIB)
driver.revert(label.name, kept.name)
assert {found.label for found in driver.list()} == {label, kept}
try:
    driver.import_image(brick.Label(brick.Kind.VOLUME, kept.id, "demo"),
                        driver.open(kept.name).path, "raw", brick.MIB)
except errors.BrickError as error:
    assert "oslo.utils" in error.message and "install" in error.message, error
else:
    raise SystemExit("there is no inspector here, and the image was taken unseen")
for found in list(driver.list()):
    driver.delete(found.name)
outside = {name.partition(".")[0] for name in sys.modules} - set(sys.stdlib_module_names) - {"__main__", "brickyard"}
assert not outside, outside
print("well")
"""


def test_the_library_works_with_nothing_but_the_standard_library_installed(tmp_path: Path) -> None:
    """-I and -S: no site-packages, no directory of a user, no variable of the environment."""
    source = Path(brick.__file__).parents[2]
    command = [sys.executable, "-I", "-S", "-c", ALONE, str(source), str(tmp_path / "pool")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "well\n"), done.stderr
