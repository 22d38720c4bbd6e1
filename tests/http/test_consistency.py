"""The type of consistency groups is made by whoever needs it first, also when several do so at once."""

from __future__ import annotations

import sys
from pathlib import Path

import falcon.testing
import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).parent))
from test_races import World, at_once

from brickyard.db import group_types, schema
from brickyard.service.site import Site


def test_many_that_need_the_type_at_once_make_it_once(running: tuple[Site, falcon.testing.TestClient]) -> None:
    world = World(*running)
    world.call("POST", "/types", {"volume_type": {"name": "any"}})
    asked = world.ask("POST", "/consistencygroups", {"consistencygroup": {"volume_types": "any"}})
    assert at_once(*[asked] * 10) == [202] * 10
    with world.site.db.read() as tx:
        kinds = tx.execute(sa.select(schema.group_types)).all()
        groups = tx.execute(sa.select(schema.groups)).all()
    assert [(one.name, one.group_specs) for one in kinds] == [
        (group_types.RESERVED, {"consistent_group_snapshot_enabled": "<is> True"})
    ]
    assert {(one.group_type_id, one.status) for one in groups} == {(kinds[0].id, "available")}
