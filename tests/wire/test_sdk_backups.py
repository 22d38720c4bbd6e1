"""openstacksdk: backups."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import openstack.exceptions
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from waiting import becomes, vanishes

GONE = openstack.exceptions.NotFoundException
pytestmark = [
    pytest.mark.wire,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # what the SDK says of itself
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),
]


@pytest.fixture
def storage(sdk: Any) -> Any:
    return sdk.block_storage


def test_backups(storage: Any) -> None:
    source = storage.create_volume(name="source", size=1)
    becomes(storage.get_volume, source, "available")
    backup = storage.create_backup(volume_id=source.id, name="full", metadata={"k": "v"})
    becomes(storage.get_backup, backup, "available")
    assert [one.id for one in storage.backups(details=True, name="full")] == [backup.id]
    found = storage.find_backup("full")
    assert (found.id, found.metadata, found.volume_id) == (backup.id, {"k": "v"}, source.id)
    storage.update_backup(backup, name="renamed")
    more = storage.create_backup(volume_id=source.id, is_incremental=True)
    becomes(storage.get_backup, more, "available")
    with pytest.raises(openstack.exceptions.BadRequestException, match="Incremental backups exist"):
        storage.delete_backup(backup)
    restored = storage.restore_backup(more, name="again")
    volume = becomes(storage.get_volume, storage.get_volume(restored.volume_id), "available")
    assert (volume.name, volume.size) == ("again", 1)
    becomes(storage.get_backup, more, "available")
    assert storage.export_record(more).json()["backup-record"]["backup_service"] == "cinder.backup.drivers.brickyard"
    storage.reset_backup_status(more, "error")
    for one in (more, backup):
        storage.delete_backup(one, force=True)
        vanishes(storage.get_backup, one, GONE)
    for one in (source, volume):
        storage.delete_volume(one)
        vanishes(storage.get_volume, one, GONE)
