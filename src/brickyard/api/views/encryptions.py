"""Encryption of volume types as the wire shows it."""

from __future__ import annotations

from typing import Any

from brickyard.db.database import Row


def full(row: Row) -> dict[str, Any]:
    """Not under a key: the fields themselves are the body."""
    return {
        "volume_type_id": row.volume_type_id,
        "encryption_id": row.id,
        "provider": row.provider,
        "control_location": row.control_location,
        "cipher": row.cipher,
        "key_size": row.key_size,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        "deleted": False,
        "deleted_at": None,
    }
