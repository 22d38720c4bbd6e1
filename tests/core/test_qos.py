"""What whoever connects a volume is told of its promises."""

from __future__ import annotations

import pytest

from brickyard.core import errors, qos

PER_GB = {"read_iops_sec_per_gb": "10", "read_iops_sec_per_gb_min": "50", "read_iops_sec_max": "200"}


@pytest.mark.parametrize(("size_gib", "figure"), [(1, "50"), (5, "50"), (6, "60"), (20, "200"), (1000, "200")])
def test_what_is_for_each_gib_grows_with_the_size_between_its_bounds(size_gib: int, figure: str) -> None:
    assert qos.for_consumer("front-end", PER_GB, size_gib) == {"read_iops_sec": figure}


def test_what_is_not_for_each_gib_is_told_as_it_is() -> None:
    specs = {"total_bytes_sec": "7", "total_bytes_sec_max": "9", "colour": "red"}
    assert qos.for_consumer("both", specs, 5) == specs


def test_what_is_for_the_back_end_is_told_to_nobody() -> None:
    assert qos.for_consumer("back-end", PER_GB, 5) is None
    assert qos.for_consumer("both", {}, 5) is None


@pytest.mark.parametrize("text", ["", "x", "-1", "1.5", "\N{SUPERSCRIPT TWO}"])
def test_a_figure_is_a_whole_number(text: str) -> None:
    with pytest.raises(errors.Invalid, match="read_iops_sec_per_gb"):
        qos.check({**PER_GB, "read_iops_sec_per_gb": text})
