"""The stages before a pool is full: where each begins and ends, and how often to look."""

from __future__ import annotations

import itertools

import pytest

from brickyard.core import errors, fullness
from brickyard.core.bricks import Usage
from brickyard.core.fullness import ORDER, Stage, Thresholds
from brickyard.core.sizes import GIB

LIMITS = Thresholds()


@pytest.mark.parametrize(
    ("before", "percent", "after"),
    [
        (Stage.OK, 0.0, Stage.OK),
        (Stage.OK, 79.9, Stage.OK),
        (Stage.OK, 80.0, Stage.WARN),
        (Stage.OK, 90.0, Stage.FROZEN),
        (Stage.OK, 95.0, Stage.PAUSED),
        (Stage.OK, 100.0, Stage.PAUSED),
        # A stage is left 2 points below where it begins, and never entered there.
        (Stage.WARN, 78.0, Stage.WARN),
        (Stage.WARN, 77.9, Stage.OK),
        (Stage.WARN, 89.9, Stage.WARN),
        (Stage.FROZEN, 88.0, Stage.FROZEN),
        (Stage.FROZEN, 87.9, Stage.WARN),
        (Stage.FROZEN, 94.9, Stage.FROZEN),
        (Stage.PAUSED, 93.0, Stage.PAUSED),
        (Stage.PAUSED, 92.9, Stage.FROZEN),
        (Stage.PAUSED, 10.0, Stage.OK),
    ],
)
def test_a_stage_begins_at_its_threshold_and_ends_a_little_below(before, percent, after):
    assert fullness.judge(before, percent, None, LIMITS).stage is after
    assert fullness.judge(before, 1.0, percent, LIMITS).stage is after


def test_the_fuller_figure_decides_and_is_named_with_its_threshold():
    found = fullness.judge(Stage.OK, 85.0, 91.25, LIMITS)
    assert (found.stage, found.closed) == (Stage.FROZEN, True)
    assert found.why == "91.2 % of its metadata are used, thin_freeze_percent is 90"
    found = fullness.judge(Stage.OK, 96.0, 91.0, LIMITS)
    assert (found.stage, found.why) == (Stage.PAUSED, "96.0 % of its data are used, thin_pause_percent is 95")
    assert "is 95 less 2" in fullness.judge(Stage.PAUSED, 94.0, 1.0, LIMITS).why
    assert fullness.judge(Stage.OK, 12.0, 3.0, LIMITS).why == ""


def test_a_pool_without_figures_is_never_too_full():
    for before in Stage:
        assert fullness.judge(before, None, None, LIMITS).stage is Stage.OK


def test_a_fuller_pool_is_never_in_an_earlier_stage():
    for before in Stage:
        stages = [fullness.judge(before, tenth / 10, None, LIMITS).stage for tenth in range(1001)]
        ranks = [ORDER.index(stage) for stage in stages]
        assert ranks == sorted(ranks)


def test_at_the_edge_it_does_not_go_back_and_forth():
    """One point up and down around each threshold: one change, and no more."""
    for threshold in (80, 90, 95):
        stage, seen = Stage.OK, []
        for percent in itertools.islice(itertools.cycle((threshold - 1.0, threshold + 0.5)), 50):
            stage = fullness.judge(stage, percent, None, LIMITS).stage
            seen.append(stage)
        assert len(set(seen[1:])) == 1, threshold


def test_thresholds_come_from_the_options_and_are_in_order():
    assert fullness.thresholds({}) == Thresholds(80, 90, 95)
    assert fullness.thresholds({"thin_warn_percent": "50", "thin_pause_percent": 99}) == Thresholds(50, 90, 99)
    for wrong in ({"thin_warn_percent": 90}, {"thin_freeze_percent": 95}, {"thin_pause_percent": 60}):
        with pytest.raises(errors.Invalid, match=r"thin_warn_percent \d+, .*must be lower than the next") as refused:
            fullness.thresholds(wrong)
        assert refused.value.field == "thin_freeze_percent"


def usage(**more):
    return Usage(total_bytes=100 * GIB, free_bytes=25 * GIB, provisioned_bytes=0, allocated_bytes=0, **more)


def test_what_the_storage_reports_counts_and_else_a_file_system_that_is_promised_twice():
    reported = usage(data_percent=40.0, metadata_percent=7.0)
    assert fullness.figures(reported, thin=True, ratio=1.0) == (40.0, 7.0)
    assert fullness.figures(usage(), thin=True, ratio=3.0) == (75.0, None)
    assert fullness.figures(usage(), thin=True, ratio=1.0) == (None, None)
    assert fullness.figures(usage(), thin=False, ratio=3.0) == (None, None)
    assert fullness.figures(Usage(0, 0, 0, 0), thin=True, ratio=3.0) == (None, None)


def test_the_sooner_a_pool_may_be_full_the_sooner_it_is_looked_at():
    def look(percent, gib, percent_per_s=0.0):
        return fullness.next_look_s(percent, gib * GIB, percent_per_s, LIMITS)

    assert look(10.0, 1000) == fullness.LOOK_MAX_S
    assert look(94.0, 1000) == pytest.approx(2.5)  # 10 GiB are left, and a burst may begin now
    assert look(10.0, 1000, percent_per_s=5.0) == pytest.approx(85 / 5 / 4)
    assert look(94.9, 1000) == look(99.0, 1000) == look(50.0, 1) == fullness.LOOK_MIN_S
    assert look(50.0, 0) == fullness.LOOK_MAX_S


@pytest.mark.parametrize("percent_per_s", [0.1, 1.0, 4.0])
def test_a_steady_writer_is_seen_in_every_stage(percent_per_s):
    """From empty to full at a steady speed, looked at when told: no stage is passed over unseen, and the last one is
    seen before the pool is full."""
    at, stage, seen = 0.0, Stage.OK, []
    while at < 100:
        stage = fullness.judge(stage, at, None, LIMITS).stage
        seen.append(stage)
        if stage is Stage.PAUSED:
            break
        at += percent_per_s * fullness.next_look_s(at, 1000 * GIB, percent_per_s, LIMITS)
    assert at < 100
    assert set(seen) == set(Stage)
