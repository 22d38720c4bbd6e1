"""Quota arithmetic and the errors of the wire."""

import pytest

from brickyard.core import errors, quotas

LIMITS = quotas.resources(["fast"]) | {"volumes_fast": 2, "gigabytes_fast": 50, "per_volume_gigabytes": 100}

# usage, deltas, and how the error begins
CASES = [
    ({}, {"volumes": 10}, None),
    ({"volumes": 9}, {"volumes": 1}, None),
    (
        {"volumes": 10},
        {"volumes": 1},
        "VolumeLimitExceeded: Maximum number of volumes allowed (10) exceeded for quota 'volumes'.",
    ),
    (
        {"volumes_fast": 2},
        {"volumes_fast": 1},
        "VolumeLimitExceeded: Maximum number of volumes allowed (2) exceeded for quota 'volumes_fast'.",
    ),
    (
        {"gigabytes": 990},
        {"gigabytes": 11},
        "VolumeSizeExceedsAvailableQuota: Requested volume or snapshot exceeds allowed gigabytes quota. "
        "Requested 11G, quota is 1000G and 990G has been consumed.",
    ),
    (
        {"gigabytes_fast": 45},
        {"gigabytes_fast": 6},
        "VolumeSizeExceedsAvailableQuota: Requested volume or snapshot exceeds allowed gigabytes_fast quota.",
    ),
    ({"volumes": 10, "gigabytes": 1000}, {"volumes": 1, "gigabytes": 1}, "VolumeSizeExceedsAvailableQuota"),
    ({"snapshots": 10}, {"snapshots": 1}, "SnapshotLimitExceeded: Maximum number of snapshots allowed (10) exceeded"),
    ({"snapshots_fast": 10}, {"snapshots_fast": 1}, None),
    ({"backups": 10}, {"backups": 1}, "BackupLimitExceeded: Maximum number of backups allowed (10) exceeded"),
    (
        {"backup_gigabytes": 999},
        {"backup_gigabytes": 2},
        "VolumeBackupSizeExceedsAvailableQuota: Requested backup exceeds allowed Backup gigabytes quota. "
        "Requested 2G, quota is 1000G and 999G has been consumed.",
    ),
    ({"groups": 10}, {"groups": 1}, "GroupLimitExceeded: Maximum number of groups allowed (10) exceeded"),
    ({"volumes": 99}, {"volumes": -1}, None),
    ({"volumes": 99}, {"volumes": 0}, None),
    ({"volumes_other": 2**31}, {"volumes_other": -1}, None),
    ({"volumes_other": 2**31 - 1}, {"volumes_other": 1}, "QuotaUsageOverflow"),
]


@pytest.mark.parametrize(("usage", "deltas", "message"), CASES)
def test_check(usage, deltas, message):
    if message is None:
        quotas.check(LIMITS, usage, deltas)
        return
    with pytest.raises(errors.OverQuota) as caught:
        quotas.check(LIMITS, usage, deltas)
    assert caught.value.message.startswith(message)
    assert caught.value.status == 413
    assert caught.value.facts["code"] == message.partition(":")[0]


def test_a_resource_unknown_to_the_wire_is_refused_as_unexpected():
    with pytest.raises(errors.OverQuota, match="UnexpectedOverQuota: Unexpected over quota on shelves"):
        quotas.check({"shelves": 1}, {}, {"shelves": 2})


def test_a_limit_of_minus_one_is_none():
    quotas.check({"volumes": -1}, {"volumes": 10**6}, {"volumes": 10**6})


def test_a_limit_of_zero_allows_nothing():
    with pytest.raises(errors.OverQuota):
        quotas.check({"volumes": 0}, {}, {"volumes": 1})


def test_one_volume_may_be_too_large_by_itself():
    quotas.check_size(LIMITS, 100)
    quotas.check_size(quotas.resources(), 10**6)
    with pytest.raises(errors.OverQuota, match="VolumeSizeExceedsLimit: Requested volume size 101G") as caught:
        quotas.check_size(LIMITS, 101)
    assert caught.value.facts["code"] == "VolumeSizeExceedsLimit"


def test_deltas_of_a_volume_and_its_growth_carry_the_type():
    both = {"volumes": 1, "gigabytes": 5, "volumes_fast": 1, "gigabytes_fast": 5}
    assert quotas.volume_deltas(5, type_name="fast") == both
    assert quotas.volume_deltas(5, volumes=0) == {"gigabytes": 5}
    assert quotas.negated(quotas.volume_deltas(5)) == {"volumes": -1, "gigabytes": -5}


def test_gigabytes_of_snapshots_count_unless_the_operator_says_no():
    both = {"snapshots": 1, "gigabytes": 5, "snapshots_fast": 1, "gigabytes_fast": 5}
    assert quotas.snapshot_deltas(5, type_name="fast") == both
    assert quotas.snapshot_deltas(5, count_gigabytes=False) == {"snapshots": 1}


def test_the_first_layer_that_names_a_limit_wins_and_unknown_names_are_dropped():
    limits = quotas.effective(["t"], {"volumes": 3}, {"volumes": 4, "groups": 5, "volumes_t": 6}, {"nonsense": 1})
    assert (limits["volumes"], limits["groups"], limits["volumes_t"], limits["backups"]) == (3, 5, 6, 10)
    assert "nonsense" not in limits


@pytest.mark.parametrize(
    ("resource", "expected"),
    [("volumes", "volumes"), ("volumes_a_b", "volumes"), ("backup_gigabytes", "backup_gigabytes"), ("x_y", "x_y")],
)
def test_the_type_is_stripped_from_a_resource(resource, expected):
    assert quotas.base(resource) == expected
