"""A qcow2 image whose file ends before its tables say, or whose header says what cannot be, is refused before any tool
opens it; one that qemu-img has made is taken, in every form that it makes."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import uuid
from pathlib import Path

import pytest

from brickyard import brick
from brickyard.brick import images, raw, shell
from brickyard.core import errors
from brickyard.core.sizes import GIB, KIB, MIB


def filled(path: Path, *options: str, size: str = "8M", compat: str = "1.1") -> Path:
    """An image with a cluster here and there and a MiB in the middle; with options of its form."""
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-o", ",".join((f"compat={compat}", *options))]
    subprocess.run([*command, str(path), size], check=True)
    for pattern, at, length in ((1, "0", "4k"), (2, "3M", "1M"), (3, "7M", "64k")):
        subprocess.run(["qemu-io", "-f", "qcow2", "-c", f"write -q -P {pattern} {at} {length}", path], check=True)
    return path


def tops(path: Path) -> list[int]:
    """Where what the image says of its data ends, by qemu-img's own map."""
    said = subprocess.run(["qemu-img", "map", "--output=json", "-f", "qcow2", path], check=True, capture_output=True)
    found = json.loads(said.stdout)
    return [one["offset"] + one["length"] for one in found if one.get("data") and "offset" in one]


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Import and expect a refusal that names what is wrong, with nothing made and no tool started."""
    driver = raw.driver(str(tmp_path))

    def run(*_: object, **__: object) -> str:
        raise AssertionError("a tool was started")

    def check(path: Path, match: str) -> None:
        label = brick.Label(brick.Kind.VOLUME, str(uuid.uuid4()), "demo")
        with monkeypatch.context() as patch:
            patch.setattr(shell, "run", run)
            with pytest.raises(errors.DamagedImage, match=match):
                driver.import_image(label, str(path), "qcow2", 64 * MIB)
        assert driver.find(label.name) is None

    return check


FORMS = {
    "old": {"compat": "0.10"},
    "512-byte-clusters": {"options": ("cluster_size=512",)},
    "2-MiB-clusters": {"options": ("cluster_size=2M",)},
    "lazy": {"options": ("lazy_refcounts=on",)},
    "metadata": {"options": ("preallocation=metadata",)},
    "full": {"options": ("preallocation=full",)},
    "odd-size": {"size": "8389120"},
}


@pytest.mark.parametrize("form", FORMS)
def test_what_qemu_img_makes_is_taken(tmp_path: Path, form: str) -> None:
    made = FORMS[form]
    path = filled(tmp_path / "image", *made.get("options", ()), **{k: v for k, v in made.items() if k != "options"})
    images.check_import(str(path), "qcow2", GIB)
    subprocess.run(["qemu-img", "snapshot", "-c", "before", path], check=True)
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -q -P 9 0 1M", path], check=True)
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -q -z 3M 64k", path], check=True)
    images.check_import(str(path), "qcow2", GIB)
    again = tmp_path / "again"
    for options in ((), ("-c",), ("-o", "cluster_size=4k")):
        subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "qcow2", *options, path, again], check=True)
        images.check_import(str(again), "qcow2", GIB)


@pytest.mark.parametrize("form", [name for name in FORMS if name not in ("metadata", "full")])
def test_data_that_the_file_does_not_have_is_missed(tmp_path: Path, refused, form: str) -> None:
    """At the last byte of the last cluster, in the middle of the data, and where an L2 table is cut."""
    made = FORMS[form]
    path = filled(tmp_path / "image", *made.get("options", ()), **{k: v for k, v in made.items() if k != "options"})
    end = max(tops(path))
    for size_bytes in (end - 1, end - 4 * KIB, end - 600 * KIB):
        os.truncate(path, size_bytes)
        refused(path, rf"cut off.* the file has {size_bytes}; upload it again")


def test_compressed_data_that_the_file_does_not_have_is_missed(tmp_path: Path, refused) -> None:
    (tmp_path / "content").write_bytes(os.urandom(20 * KIB) * 20)
    path = tmp_path / "image"
    command = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", tmp_path / "content", path]
    subprocess.run(command, check=True)
    images.check_import(str(path), "qcow2", GIB)
    os.truncate(path, path.stat().st_size - 64 * KIB)
    refused(path, "cut off")


@pytest.mark.parametrize(
    ("at", "form", "value", "match"),
    [
        (20, ">I", 40, "cluster bits are 40; possible: 9 to 21"),
        (20, ">I", 0, "cluster bits are 0"),
        (24, ">Q", 2**63, "size in bytes|entries in the L1 table|cannot be understood"),
        (24, ">Q", 40 * GIB, "entries in the L1 table are 1; possible: 80 to"),
        (36, ">I", 2**32 - 1, "entries in the L1 table are 4294967295"),
        (36, ">I", 0, "entries in the L1 table are 0"),
        (40, ">Q", 2**62, "the L1 table lies from byte"),
        (40, ">Q", 3, "the L1 table is at byte 3, within a cluster"),
        (48, ">Q", 2**60, "the refcount table lies from byte"),
        (56, ">I", 2**31, "clusters of the refcount table are 2147483648"),
        (56, ">I", 0, "clusters of the refcount table are 0"),
        (60, ">I", 2**31, "snapshots are 2147483648; possible: 0 to 65536"),
        (64, ">Q", 2**60, None),  # where the list of no snapshots is, is nobody's business
        (72, ">Q", 2, "says itself that it is damaged"),
        (72, ">Q", 8, "type of compression are 7; possible: 0 to 1"),
        (96, ">I", 64, "refcount order are 64"),
        (100, ">I", 2**31, "bytes of its header are 2147483648"),
    ],
)
def test_absurd_values_are_refused_by_name(
    tmp_path: Path, refused, at: int, form: str, value: int, match: str | None
) -> None:
    path = filled(tmp_path / "image")
    with path.open("r+b") as file:
        file.seek(at)
        file.write(struct.pack(form, value))
        file.seek(104)
        file.write(b"\7")  # the type of compression, which counts if the header says that there is one
    if match is None:
        images.check_import(str(path), "qcow2", GIB)
    else:
        refused(path, match)


@pytest.mark.parametrize(("entry", "match"), [(2**50, "a table of clusters lies"), (513, "two entries|a table of")])
def test_tables_that_lead_nowhere_are_refused(tmp_path: Path, refused, entry: int, match: str) -> None:
    path = filled(tmp_path / "image", "cluster_size=4k")
    with path.open("r+b") as file:
        file.seek(40)
        [l1_at] = struct.unpack(">Q", file.read(8))
        file.seek(l1_at)
        file.write(struct.pack(">Q", entry if entry > 1024 else entry << 9))
    refused(path, match)


def test_one_table_for_everything_is_refused(tmp_path: Path, refused) -> None:
    """A file of a few KiB whose tables would keep whoever follows them busy for hours."""
    path = filled(tmp_path / "image", "cluster_size=512")
    with path.open("r+b") as file:
        file.seek(36)
        entries, at = struct.unpack(">IQ", file.read(12))
        file.seek(at)
        first = file.read(8)
        file.seek(at)
        file.write(first * entries)
    refused(path, "two entries for its table")
