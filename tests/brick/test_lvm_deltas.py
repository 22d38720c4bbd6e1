"""What `thin_delta` says of the map of a pool, which is made here of a description, without a pool."""

from __future__ import annotations

import subprocess

import pytest

from brickyard.brick import shell
from brickyard.brick.lvm import deltas

KIB = 1024
# where in a volume, where in the pool, how many blocks of 64 KiB
EARLIER = [(0, 0, 16), (20, 50, 1), (30, 60, 7)]
LATER = [(0, 0, 4), (4, 100, 2), (6, 6, 10), (16, 120, 1), (30, 60, 7), (37, 102, 3)]
MAPPING = '<range_mapping origin_begin="{}" data_begin="{}" length="{}" time="0"/>'


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> str:
    directory = tmp_path_factory.mktemp("map")
    devices = ""
    for number, mappings in enumerate((EARLIER, LATER), 1):
        blocks = sum(length for _, _, length in mappings)
        about = f'dev_id="{number}" mapped_blocks="{blocks}" transaction="0" creation_time="0" snap_time="1"'
        devices += f"<device {about}>{''.join(MAPPING.format(*one) for one in mappings)}</device>"
    form = 'uuid="" time="1" transaction="2" flags="0" version="2" data_block_size="128" nr_data_blocks="1024"'
    (directory / "map.xml").write_text(f"<superblock {form}>{devices}</superblock>")
    with (directory / "map").open("wb") as made:
        made.truncate(4 * KIB * KIB)
    restore = [shell.find("thin_restore"), "-i", str(directory / "map.xml"), "-o", str(directory / "map")]
    subprocess.run(restore, check=True, capture_output=True)
    return shell.run(["thin_delta", "--thin1", "1", "--thin2", "2", str(directory / "map")], timeout_s=60)


def test_all_that_is_not_the_same_has_changed(said: str) -> None:
    """Written, written where nothing was, and given back; what lies beside each other is one range."""
    block = 64 * KIB
    assert deltas.read(said) == [
        (4 * block, 6 * block),
        (16 * block, 17 * block),
        (20 * block, 21 * block),
        (37 * block, 40 * block),
    ]


def test_what_is_not_understood_says_nothing(said: str) -> None:
    assert deltas.read(said[: said.index("</diff>")]) is None
    assert deltas.read(said.replace("<different ", "<moved ")) is None
    assert deltas.read(said.replace("data_block_size", "size")) is None
    assert deltas.read("") is None
