"""What `thin_delta` says of the map of a pool, which is made here of a description, without a pool."""

from __future__ import annotations

import itertools
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from brickyard.brick import shell
from brickyard.brick.lvm import deltas

KIB = 1024
BLOCK = 64 * KIB
# where in a volume, where in the pool, how many blocks of 64 KiB
EARLIER = [(0, 0, 16), (20, 50, 1), (30, 60, 7)]
LATER = [(0, 0, 4), (4, 100, 2), (6, 6, 10), (16, 120, 1), (30, 60, 7), (37, 102, 3)]
MAPPING = '<range_mapping origin_begin="{}" data_begin="{}" length="{}" time="0"/>'


def said_of(directory: Path, *devices: list[tuple[int, int, int]]) -> str:
    """What is said of the first two devices of such a map."""
    text = ""
    for number, mappings in enumerate(devices, 1):
        blocks = sum(length for _, _, length in mappings)
        about = f'dev_id="{number}" mapped_blocks="{blocks}" transaction="0" creation_time="0" snap_time="1"'
        text += f"<device {about}>{''.join(MAPPING.format(*one) for one in mappings)}</device>"
    form = 'uuid="" time="1" transaction="2" flags="0" version="2" data_block_size="128" nr_data_blocks="100000"'
    (directory / "map.xml").write_text(f"<superblock {form}>{text}</superblock>")
    with (directory / "map").open("wb") as made:
        made.truncate(4 * KIB * KIB)
    restore = [shell.find("thin_restore"), "-i", str(directory / "map.xml"), "-o", str(directory / "map")]
    subprocess.run(restore, check=True, capture_output=True)
    return shell.run(["thin_delta", "--thin1", "1", "--thin2", "2", str(directory / "map")], timeout_s=60)


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> str:
    return said_of(tmp_path_factory.mktemp("map"), EARLIER, LATER)


def test_all_that_is_not_the_same_has_changed(said: str) -> None:
    """Written, written where nothing was, and given back; what lies beside each other is one range."""
    assert deltas.read(said, "1", "2") == [
        (4 * BLOCK, 6 * BLOCK),
        (16 * BLOCK, 17 * BLOCK),
        (20 * BLOCK, 21 * BLOCK),
        (37 * BLOCK, 40 * BLOCK),
    ]


def test_what_is_not_understood_says_nothing(said: str) -> None:
    assert deltas.read(said, "2", "1") is None
    assert deltas.read(said[: said.index("</diff>")], "1", "2") is None
    lines = said.splitlines()
    for broken in (
        said.replace("<different ", "<moved "),
        said.replace("data_block_size", "size"),
        said + said,
        "\n".join([lines[0], lines[-1]]),  # without a comparison
        "\n".join([*lines[:2], *reversed(lines[2:-2]), *lines[-2:]]),
        "",
    ):
        assert deltas.read(broken, "1", "2") is None, broken


def changed(chance: random.Random, before: dict[int, int], free: Iterator[int]) -> dict[int, int]:
    """Where the blocks of a volume lie after it was written to, and parts of it were given back."""
    blocks, size = dict(before), chance.choice((8, 40, 2000))
    for _ in range(chance.randrange(6)):
        begin = chance.randrange(size)
        for block in range(begin, min(size, begin + chance.choice((1, 2, 5, size // 4)))):
            blocks.pop(block, None)
            if chance.random() < 0.8:
                blocks[block] = next(free)
    return blocks


def mappings(blocks: dict[int, int]) -> list[tuple[int, int, int]]:
    found: list[tuple[int, int, int]] = []
    for block, place in sorted(blocks.items()):
        begin, there, length = found[-1] if found else (-1, -1, 0)
        if (block, place) == (begin + length, there + length):
            found[-1] = (begin, there, length + 1)
        else:
            found.append((block, place, 1))
    return found


def test_this_program_finds_every_block_that_differs(tmp_path: Path) -> None:
    """Of any two volumes; and so this release of it is one that is believed."""
    chance, free = random.Random(1), itertools.count()
    for _ in range(60):
        before = changed(chance, {}, free)
        after = changed(chance, before, free)
        ranges = deltas.read(said_of(tmp_path, mappings(before), mappings(after)), "1", "2")
        assert ranges is not None
        found = {at // BLOCK for begin, end in ranges for at in range(begin, end, BLOCK)}
        assert found == {block for block in before | after if before.get(block) != after.get(block)}
    assert deltas.is_right(shell.run(["thin_delta", "--version"], timeout_s=60))


@pytest.mark.parametrize(
    ("version", "right"),
    [
        ("0.8.5", False),
        ("0.9.0", True),
        ("thin_delta 1.0.0", False),
        ("thin_delta 1.0.5", False),
        ("thin_delta 1.0.6", True),
        ("thin_delta 1.1.0", True),
        ("thin_delta 2.0.0", False),
        ("?", False),
    ],
)
def test_releases_that_answer_wrongly_are_not_asked(version: str, right: bool) -> None:
    assert deltas.is_right(f"{version}\n") is right
