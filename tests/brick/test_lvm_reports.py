"""Reports of LVM are read whatever stands around them, and shared by those who ask at the same time."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brickyard.brick.lvm import command, reports
from brickyard.brick.lvm.reports import Group, Shared
from brickyard.core import errors

VG = {
    "vg_name": "vg", "vg_uuid": "u-1", "vg_size": "1073741824", "vg_free": "1065353216", "vg_extent_size": "4194304",
    "vg_missing_pv_count": "0", "vg_tags": "brickyard.group",
}  # fmt: skip
PV = {
    "pv_name": "/dev/vdb", "pv_uuid": "p-1", "pv_size": "1073741824", "pv_used": "8388608", "pv_free": "1065353216",
    "pv_missing": "", "pv_allocatable": "allocatable",
    "pv_tags": "", "pe_start": "1048576",
}  # fmt: skip
LV = {
    "lv_name": "volume-1", "lv_uuid": "l-1", "lv_size": "8388608", "lv_tags": "brickyard.making,other",
    "lv_attr": "-wi-ao---k", "lv_layout": "linear", "lv_active": "active", "lv_health_status": "", "pool_lv": "",
    "origin": "", "data_percent": "", "metadata_percent": "", "lv_metadata_size": "",
    "lv_kernel_major": "254", "lv_kernel_minor": "4",
}  # fmt: skip
ADVICE = st.text(st.characters(codec="ascii", exclude_characters="{}"), max_size=80)


def report(**parts: list[dict[str, str]]) -> str:
    return json.dumps({"report": [parts]})


@given(ADVICE, ADVICE)
def test_advisories_around_a_report_do_not_matter(before: str, after: str) -> None:
    output = f"{before}\n{report(vg=[VG], pv=[PV], lv=[LV])}\n{after}"
    group = reports.build(command.parse(output), "vg")
    assert (group.uuid, group.free_bytes, group.devices[0].path) == ("u-1", 1065353216, "/dev/vdb")
    assert (group.devices[0].begin, group.devices[0].left) == (1048576, None)


def test_an_advisory_with_braces_and_a_second_report_do_not_matter() -> None:
    output = f"WARNING: {{odd}} [thing]\n{report(vg=[VG])}\nmore {{\n{report(pv=[PV], lv=[LV])}"
    group = reports.build(command.parse(output), "vg")
    assert len(group.devices) == 1
    assert group.volumes["volume-1"].open
    assert group.volumes["volume-1"].tags.making


@pytest.mark.parametrize("output", ["", "no devices found", '{"log": []}', "{"])
def test_an_output_without_a_report_is_an_error(output: str) -> None:
    with pytest.raises(errors.ToolFailed, match="no report"):
        command.parse(output)


def test_two_groups_of_one_name_are_refused_with_both() -> None:
    with pytest.raises(errors.BrickMismatch, match=r"u-1.*u-2"):
        reports.build({"vg": [VG, {**VG, "vg_uuid": "u-2"}]}, "vg")


def test_a_group_that_is_not_there_is_not_found() -> None:
    with pytest.raises(errors.NotFound):
        reports.build({}, "vg")


@pytest.mark.parametrize(
    ("attributes", "layout", "is_cow", "has_snapshots"),
    [
        ("swi-a-s---", "linear", True, False),
        ("owi-a-s---", "linear", False, True),
        ("Vwi-a-tz-k", "thin,sparse", False, False),
        ("-wi-------", "linear", False, False),
    ],
)
def test_snapshots_of_the_older_kind_are_told_apart(
    attributes: str, layout: str, is_cow: bool, has_snapshots: bool
) -> None:
    volume = reports.build({"vg": [VG], "lv": [{**LV, "lv_attr": attributes, "lv_layout": layout}]}, "vg").volumes
    assert (volume["volume-1"].is_cow, volume["volume-1"].has_snapshots) == (is_cow, has_snapshots)


@pytest.mark.parametrize(
    ("attributes", "major", "stopped", "device"),
    [
        ("-wi-a-----", "254", False, "254:4"),
        ("-wi-s-----", "254", True, "254:4"),
        ("Vwi-XXtzX-", "254", True, "254:4"),
        ("-wi-------", "-1", False, ""),
    ],
)
def test_a_device_that_is_not_as_it_should_be_is_told(attributes: str, major: str, stopped: bool, device: str) -> None:
    row = {**LV, "lv_attr": attributes, "lv_kernel_major": major}
    volume = reports.build({"vg": [VG], "lv": [row]}, "vg").volumes["volume-1"]
    assert (volume.stopped, volume.device) == (stopped, device)


# sharing ---------------------------------------------------------------------------------------------------------


class Looking:
    """Looks that take a while, and are counted."""

    def __init__(self) -> None:
        self.begun, self.state, self.error = 0, 0, False

    def __call__(self) -> Group:
        self.begun += 1
        seen = self.state
        time.sleep(0.05)
        if self.error:
            raise errors.BrickError("no")
        return reports.build({"vg": [{**VG, "vg_uuid": str(seen)}]}, "vg")


def test_sixteen_who_ask_at_once_share_two_reports() -> None:
    looking, start = Looking(), threading.Barrier(16)
    shared = Shared(looking)

    def ask(_: int) -> Group:
        start.wait()
        return shared.fresh()

    with ThreadPoolExecutor(16) as threads:
        assert len(list(threads.map(ask, range(16)))) == 16
    assert looking.begun <= 3


def test_sixteen_who_are_content_with_a_young_report_share_one() -> None:
    for _ in range(20):
        looking, start = Looking(), threading.Barrier(16)
        shared = Shared(looking)

        def ask(_: int, shared: Shared = shared, start: threading.Barrier = start) -> Group:
            start.wait()
            return shared.recent(60)

        with ThreadPoolExecutor(16) as threads:
            assert len(set(map(id, threads.map(ask, range(16))))) == 1
        assert looking.begun == 1


def test_nobody_gets_a_report_that_began_before_they_asked() -> None:
    looking = Looking()
    shared = Shared(looking)

    def work(_: int) -> bool:
        answers = []
        for _ in range(10):
            looking.state += 1
            before = looking.state
            answers.append(int(shared.fresh().uuid) >= before)
        return all(answers)

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(work, range(8)))


def test_a_report_that_failed_is_told_and_the_next_one_is_made() -> None:
    looking = Looking()
    shared = Shared(looking)
    looking.error = True
    for _ in range(2):
        with pytest.raises(errors.BrickError):
            shared.recent(60)
    looking.error = False
    assert shared.recent(60) is shared.recent(60)
    assert looking.begun == 3
    assert shared.fresh() and looking.begun == 4
