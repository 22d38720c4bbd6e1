"""Images that could make a tool read other files, or that are not what they claim, are refused before it opens them."""

from __future__ import annotations

import contextlib
import os
import random
import struct
import subprocess
import uuid
from pathlib import Path

import pytest

from brickyard import brick
from brickyard.brick import images, raw, shell
from brickyard.core import errors

MIB = brick.MIB

# Of LUKS 1, up to the key slots. Written here because qemu-img first measures the processor, which fails now and then.
LUKS_HEADER = struct.pack(
    ">6sH32s32s32sII20s32sI40s", b"LUKS\xba\xbe", 1, b"aes", b"xts-plain64", b"sha256", 4096, 32, b"d" * 20, b"s" * 32,
    1000, b"6f1c0ad4-3c2e-4b7e-9f2d-2f5f8d0a7c11",
)  # fmt: skip


def make(path: Path, format: str, *options: str) -> str:
    subprocess.run(["qemu-img", "create", "-q", "-f", format, *options, str(path), "4M"], check=True)
    return str(path)


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Import and expect a refusal, with nothing made and no command started."""
    (tmp_path / "pool").mkdir()
    driver = raw.driver(str(tmp_path / "pool"))

    def run(*_: object, **__: object) -> str:
        raise AssertionError("a tool was started")

    def check(path: str, format: str, match: str, error: type[Exception] = errors.UnsafeImage) -> None:
        label = brick.Label(brick.Kind.VOLUME, str(uuid.uuid4()), "demo")
        with monkeypatch.context() as patch:
            patch.setattr(shell, "run", run)
            with pytest.raises(error, match=match):
                driver.import_image(label, path, format, 64 * MIB)
        assert driver.find(label.name) is None

    return check


def test_a_backing_file_is_refused(tmp_path: Path, refused) -> None:
    secret = make(tmp_path / "secret", "raw")
    refused(make(tmp_path / "image", "qcow2", "-b", secret, "-F", "raw"), "qcow2", "backing")


def test_a_data_file_is_refused(tmp_path: Path, refused) -> None:
    path = make(tmp_path / "image", "qcow2", "-o", f"data_file={tmp_path / 'outside'},data_file_raw=on")
    refused(path, "qcow2", "data_file")


def test_an_encrypted_image_is_refused(tmp_path: Path, refused) -> None:
    path = make(tmp_path / "image", "qcow2")
    with open(path, "r+b") as file:
        file.seek(32)
        file.write(struct.pack(">I", 2))
    refused(path, "qcow2", "encrypted")


@pytest.mark.parametrize("truth", ["qcow2", "vdi", "vmdk", "vhdx"])
def test_content_of_another_format_is_not_raw(tmp_path: Path, refused, truth: str) -> None:
    refused(make(tmp_path / "image", truth), "raw", f"claims to be raw.*content is {truth}")


@pytest.mark.parametrize("claim", ["qcow2", "vdi", "vmdk"])
def test_raw_content_is_not_what_it_claims(tmp_path: Path, refused, claim: str) -> None:
    refused(make(tmp_path / "image", "raw"), claim, f"claims to be {claim}.*content is raw")


@pytest.mark.parametrize("subformat", ["monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat"])
def test_a_vmdk_of_several_files_is_refused(tmp_path: Path, refused, subformat: str) -> None:
    path = make(tmp_path / "image.vmdk", "vmdk", "-o", f"subformat={subformat}")
    refused(path, "vmdk", "refused|several|content is")


def test_a_vmdk_that_names_another_file_is_refused(tmp_path: Path, refused) -> None:
    path = Path(make(tmp_path / "image.vmdk", "vmdk"))
    path.write_bytes(path.read_bytes().replace(b'"image.vmdk"', b'"/etc/passw"'))
    refused(str(path), "vmdk", "descriptor|extent")


@pytest.mark.parametrize("format", ["vpc", "vhd", "vhdx", "qed", "iso", "luks", ""])
def test_formats_that_are_not_imported_are_refused_by_name(tmp_path: Path, refused, format: str) -> None:
    refused(make(tmp_path / "image", "raw"), format, "allowed: raw, qcow2, vdi, vmdk", errors.Invalid)


def test_an_image_that_is_two_formats_at_once_is_refused(tmp_path: Path, refused) -> None:
    path = Path(make(tmp_path / "image", "qcow2"))
    content = bytearray(path.read_bytes().ljust(65536, b"\0"))
    content[0x40:0x44] = struct.pack("<I", 0xBEDA107F)
    path.write_bytes(content)
    refused(str(path), "qcow2", "several formats")


@pytest.mark.parametrize("format", images.FORMATS)
def test_inspect_tells_format_and_size(tmp_path: Path, format: str) -> None:
    facts = brick.inspect(make(tmp_path / "image", format))
    assert facts == brick.ImageFacts(format, 4 * MIB)


def test_a_stream_optimized_vmdk_is_imported(tmp_path: Path) -> None:
    label = brick.Label(brick.Kind.VOLUME, str(uuid.uuid4()), "demo")
    (tmp_path / "content").write_bytes(b"\x22" * 4 * MIB)
    command = ["qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized"]
    subprocess.run([*command, str(tmp_path / "content"), str(tmp_path / "image")], check=True)
    driver = brick.load("raw", {"path": str(tmp_path / "pool")})
    driver.import_image(label, str(tmp_path / "image"), "vmdk", 4 * MIB)
    assert Path(driver.open(label.name).path).read_bytes() == b"\x22" * 4 * MIB


@pytest.mark.parametrize("format", ["qcow2", "vdi", "vmdk", "vhdx", "vpc", "qed", "luks"])
def test_a_damaged_image_is_understood_or_refused_and_nothing_else(tmp_path: Path, format: str) -> None:
    if format == "luks":
        whole = LUKS_HEADER.ljust(MIB, b"\x5a")
    else:
        whole = Path(make(tmp_path / "image", format)).read_bytes()[: 8 * MIB]
    chance = random.Random(format)
    path = tmp_path / "damaged"
    for _ in range(60):
        content = bytearray(whole[: chance.choice([len(whole), chance.randrange(2048)])])
        for _ in range(chance.randrange(20) if content else 0):
            content[chance.randrange(min(len(content), 1024))] = chance.randrange(256)
        path.write_bytes(content)
        for claim in images.FORMATS:
            with contextlib.suppress(errors.Invalid):
                assert images.check_import(str(path), claim, 64 * MIB).format == claim
        with contextlib.suppress(errors.UnsafeImage):
            images.inspect(str(path))


@pytest.mark.parametrize("size_bytes", [60, 104, 1024, 65536, 150_000])
def test_a_qcow2_that_is_cut_off_within_its_tables_is_refused(tmp_path: Path, size_bytes: int) -> None:
    path = tmp_path / "image"
    shell.run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), "1G"], timeout_s=30)
    images.check_import(str(path), "qcow2", brick.GIB)
    os.truncate(path, size_bytes)
    with pytest.raises(errors.UnsafeImage):
        images.check_import(str(path), "qcow2", brick.GIB)


def test_a_convert_has_room_for_its_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of what it may have is enough each time: threads reserve more than they use, if they are let."""
    monkeypatch.setattr(images, "MEMORY_BYTES_MAX", images.MEMORY_BYTES_MAX // 2)
    source = tmp_path / "source"
    source.write_bytes(random.randbytes(1024 * 1024) * 32)
    for n in range(10):
        target = tmp_path / str(n)
        subprocess.run(["qemu-img", "create", "-q", "-f", "vdi", target, str(32 * 1024 * 1024)], check=True)
        images.convert_into(str(source), "raw", str(target), "vdi", None)
        target.unlink()
