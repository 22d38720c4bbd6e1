"""Thresholds of a pool are given when it is made, and shown when they matter."""

from __future__ import annotations

import pytest

WORDS = ("pool", "create", "thin", "--host", "h1", "--driver", "raw")


def test_thresholds_out_of_order_are_refused_with_their_names(brickyard, tmp_path):
    path = ("--path", str(tmp_path / "thin"), "--option", "max_over_subscription_ratio=3")
    error = brickyard(*WORDS, *path, "--option", "thin_warn_percent=92", code=1).err
    assert "thin_warn_percent 92, thin_freeze_percent 90" in error
    assert "lower than the next" in error
    error = brickyard(*WORDS, *path, "--option", "thin_pause_percent=200", code=1).err
    assert "from 10 to 100" in error


@pytest.mark.parametrize("ratio", ["1", "3"])
def test_how_full_a_pool_is_counts_where_it_is_promised_twice(brickyard, tmp_path, ratio):
    options = ("--option", f"max_over_subscription_ratio={ratio}", "--option", "thin_warn_percent=10")
    shown = brickyard(*WORDS, "--path", str(tmp_path / "thin"), *options).out
    try:
        assert ("Really full" in shown) == (ratio == "3")
        [pool] = [one for one in brickyard("pool", "list", "-f", "json").json if one["backend"] == "h1@thin"]
        assert (pool["data_percent"] is None) == (ratio == "1")
        assert pool["metadata_percent"] is None
    finally:
        brickyard("pool", "delete", "h1@thin")
