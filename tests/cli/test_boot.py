"""The main job from the command line: boot with local storage, see the steps, delete, and boot again with the data."""

from __future__ import annotations

import re

import pytest

HUGE = "100000"


def test_boot_shows_each_step_with_its_seconds(ready):
    shown = ready.really("boot", "--flavor", "small", "--image", "tiny", "--local-storage", "1", "steps").out
    for words in ("candidates +h1", "reserved on +h1", "volumes created on +h1@(fast|bulk)", "booted"):
        assert re.search(words, shown), shown
    assert re.search(r"\d+\.\d\d s +✓ booted", shown)
    assert "active" in shown
    assert "1 GiB in-use on h1@" in shown


def test_boot_as_json_prints_one_object_and_the_steps_beside_it(ready):
    ended = ready("-f", "json", "boot", "--flavor", "small", "--image", "tiny", "--local-storage", "2", "object")
    assert ended.json["status"] == "active"
    assert [volume["size_gib"] for volume in ended.json["volumes"]] == [2]
    assert "booted" in ended.err


def test_a_kept_volume_comes_back_with_the_next_instance(ready):
    made = ready("boot", "--flavor", "small", "--image", "tiny", "--local-storage", "1", "first", "-f", "json").json
    volume = made["volumes"][0]["volume_id"]
    assert volume in ready("instance", "delete", "first").out
    again = ready("boot", "--flavor", "small", "--image", "tiny", "--volume", volume, "second", "-f", "json").json
    assert again["volumes"][0]["volume_id"] == volume
    ready("instance", "delete", "--volumes", "second")


def test_an_instance_is_stopped_and_started(ready):
    ready("boot", "--flavor", "small", "--image", "tiny", "--local-storage", "1", "nap")
    assert ready("instance", "stop", "nap").out == "nap stopped\n"
    assert "stopped" in ready("instance", "list").out
    assert "to stop it must be active" in ready("instance", "stop", "nap", code=1).err
    [started] = ready("instance", "start", "nap", "-f", "json").json
    assert (started["status"], len(started["volumes"])) == ("active", 1)
    [stopping] = ready("instance", "stop", "--no-wait", "nap", "-f", "json").json
    assert "stop_instance is done" in ready("flow", "watch", stopping["flow_id"]).out
    assert ready("instance", "start", "nap").out == "nap started\n"
    ready("instance", "delete", "--volumes", "nap")


def test_boot_need_not_wait(ready):
    made = ready("boot", "--no-wait", "--flavor", "small", "--image", "tiny", "later", "-f", "json").json
    assert made["status"] == "building"
    assert "boot_instance is done" in ready("flow", "watch", made["flow_id"]).out
    assert "done" in ready("flow", "show", made["flow_id"]).out
    ready("instance", "delete", "later")


def test_a_boot_that_fits_nowhere_explains_itself(ready):
    ended = ready("boot", "--flavor", "small", "--image", "tiny", "--local-storage", HUGE, "big", code=1)
    assert "No host can hold this instance" in ended.err
    for words in ("Why it is refused", "h1@fast#fast", "capacity", f"{HUGE} GiB asked"):
        assert words in ended.err
    flow = ready("instance", "show", "big", "-f", "json").json["flow_id"]
    assert ready("flow", "watch", flow, code=1).err
    assert "capacity" in ready("flow", "show", flow).out
    ready("instance", "delete", "big")


def test_explain_says_where_and_why_not(ready):
    shown = ready("explain", "--flavor", "small", "--image", "tiny", "--local-storage", "1").out
    assert re.search(r"h1 +1 ", shown)
    assert "capacity" in ready("explain", "--volume-only", HUGE, code=1).out
    assert ready("explain", "--volume-only", "1", "-f", "json").json["hosts"][0]["name"] == "h1"


@pytest.mark.parametrize("size", ["0", "x", "1.5", "1:", "-1", ""])
def test_a_size_that_is_none_is_a_usage_error_that_says_what_is_allowed(ready, size):
    ended = ready("boot", "--flavor", "small", "--image", "tiny", f"--local-storage={size}", "n", code=2)
    assert "20:fast" in ended.err


def test_what_is_unknown_is_named(ready):
    assert "huge" in ready("boot", "--flavor", "huge", "--image", "tiny", "n", code=1).err
    assert (
        "no volume called data"
        in ready("boot", "--flavor", "small", "--image", "tiny", "--volume", "data", "n", code=1).err
    )
    assert "fast" in ready("boot", "--flavor", "small", "--image", "tiny", "--local-storage", "1:fast", "n", code=1).err
    assert "rack" in ready("boot", "--flavor", "small", "--image", "tiny", "--locality", "city", "n", code=2).err
