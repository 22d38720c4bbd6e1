"""A short run of what `scripts/fuzz` does at length; always the same requests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.fuzz import fuzzing


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # what schemathesis says of itself
def test_no_request_breaks_the_service_or_its_description_or_shows_what_another_project_has() -> None:
    found = fuzzing.run(requests=400, first=0, each=400)
    assert found.failures == {}
    assert found.requests == 400
    assert len(found.reached) > 60, "requests do not come far enough to prove anything"
