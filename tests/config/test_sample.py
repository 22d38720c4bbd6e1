"""deploy/brickyard.conf is a configuration as it is, and says of every option what its default is."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from brickyard import config, options
from brickyard.core import settings

SAMPLE = (Path(__file__).parents[2] / "deploy" / "brickyard.conf").read_text()


def loaded(directory: Path, text: str) -> settings.Settings:
    file = directory / "brickyard.conf"
    file.write_text(text)
    return config.load(state_dir=directory, files=[file], environ={})


def test_the_sample_changes_nothing_and_warns_of_nothing(tmp_path: Path) -> None:
    assert loaded(tmp_path, SAMPLE) == loaded(tmp_path, "")
    assert loaded(tmp_path, SAMPLE).warnings == ()


def test_what_it_shows_are_the_defaults(tmp_path: Path) -> None:
    shown = re.sub(r"^#(\w+ = \S.*)$", r"\1", SAMPLE, flags=re.MULTILINE)
    shown = re.sub(r"^#(enabled_backends) =$", r"\1 = local", shown, flags=re.MULTILINE)
    assert shown.count("\nquota_volumes = 10\n") == 1
    assert dataclasses.replace(loaded(tmp_path, shown), warnings=()) == loaded(tmp_path, "")


def test_every_option_is_in_it_once_for_each_place_where_it_may_stand() -> None:
    for option in options.TABLE:
        assert SAMPLE.count(f"\n#{option.name} =") >= 1, option.name
    for driver, known in options.DRIVERS.items():
        part = SAMPLE.partition(f"\n# volume_driver = {driver}\n")[2].partition("\n# volume_driver = ")[0]
        assert re.findall(r"^#(\w+) =", part, re.MULTILINE) == [name for name, _ in known]


def test_the_one_for_a_control_plane_is_whole(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "deploy" / "control-plane.conf").read_text()
    found = loaded(tmp_path, text)
    assert found.warnings == () and found.database_url.startswith("postgresql")
    assert found.agents is not None and found.agents.broker.servers == ("mq1:5671", "mq2:5671")
    assert dataclasses.replace(found, warnings=()) == dataclasses.replace(
        loaded(tmp_path, re.sub(r"^#(flow_lease = .*)$", r"\1", text, flags=re.MULTILINE)), warnings=()
    )
