"""Who a volume is survives the alphabet of LVM's tags, whatever a project is called."""

from __future__ import annotations

import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brickyard.brick.lvm import tags
from brickyard.core import errors
from brickyard.core.bricks import Kind, Label

ALLOWED = re.compile(r"[A-Za-z0-9_+./=!:&#-]{1,1024}")
LABELS = st.builds(
    Label,
    kind=st.sampled_from(Kind),
    id=st.uuids().map(str),
    project=st.text(min_size=1, max_size=60),
    generation=st.integers(0, 2**40),
    parent=st.none() | st.uuids().map(str),
)


@given(LABELS, st.text(max_size=60))
def test_a_label_comes_back_as_it_was(label: Label, source: str) -> None:
    written = tags.of_label(label, source)
    assert all(ALLOWED.fullmatch(text) and not text.startswith("-") for text in written)
    assert not any("," in text for text in written), "LVM lists tags with commas between them"
    told = tags.read(written)
    assert (told.label, told.source, told.making) == (label, source, False)


@given(st.lists(st.text(max_size=40) | st.text(max_size=20).map(lambda text: tags.PREFIX + text), max_size=8))
def test_tags_of_others_say_nothing_and_break_nothing(found: list[str]) -> None:
    assert tags.read(found).label is None


@given(LABELS, st.integers(0, 2**60))
def test_states_stand_beside_the_label(label: Label, offset: int) -> None:
    own = [
        *tags.of_label(label),
        tags.tag("wiping", offset),
        tags.tag("wiped", "discard now, it is"),
        tags.tag("making"),
    ]
    told = tags.read([*own, "somebody's", "brickyard.group"])
    assert told == tags.Tags(label, wiping_bytes=offset, wiped="discard now, it is", making=True)


def test_a_tag_of_a_wipe_that_makes_no_sense_begins_it_anew() -> None:
    assert tags.read(["brickyard.wiping=soon"]).wiping_bytes == 0


def test_what_is_too_long_for_a_tag_is_refused() -> None:
    label = Label(Kind.VOLUME, str(uuid.uuid4()), "ü" * 200)
    with pytest.raises(errors.Invalid, match="too long"):
        tags.of_label(label)


@pytest.mark.parametrize("text", ["#", "#zz", "a#1", "##20"])
def test_what_nobody_encoded_is_not_decoded(text: str) -> None:
    with pytest.raises(ValueError):
        tags.decode(text)


def test_tags_are_changed_in_one_command() -> None:
    assert tags.changes(["a", "b"], ["c"]) == ["--deltag", "c", "--addtag", "a", "--addtag", "b"]


@pytest.mark.parametrize(
    ("found", "left"),
    [([], None), (["other"], None), (["brickyard.left=8"], 8), (["brickyard.left=x", "brickyard.left=8"], 0)],
)
def test_up_to_where_a_device_is_erased_is_the_least_that_is_told(found: list[str], left: int | None) -> None:
    assert tags.left_of(found) == left
