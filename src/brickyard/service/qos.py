"""QoS specs: an administrator describes what volumes of some types are promised. Those for the front end are told to
whoever connects a volume; nothing here keeps those for the back end."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence

from brickyard.core import errors
from brickyard.core import qos as rules
from brickyard.db import qos, types
from brickyard.db.database import Row, Tx
from brickyard.service.site import Site


def create(site: Site, *, name: str, consumer: str, specs: Mapping[str, str]) -> Row:
    name = name.strip()
    if not name:
        raise errors.Invalid("The name of QoS specs must not be blank.", field="name")
    rules.check(specs)
    id = str(uuid.uuid4())
    with site.db.begin() as tx:
        if qos.is_taken(tx, name):
            raise errors.Conflict(f"QoS specs {name} exist already.")
        qos.insert(tx, id=id, name=name, consumer=_consumer(consumer), specs=dict(specs))
        return require(tx, id)


def require(tx: Tx, id: str) -> Row:
    row = qos.find(tx, id)
    if row is None:
        raise errors.NotFound(f"No such qos spec {id}.")
    return row


def update(site: Site, id: str, specs: Mapping[str, str]) -> None:
    """Add these, in place of older ones of the same key; `consumer` among them says whose business it is from now on.

    What is connected already keeps what it was told.
    """
    with site.db.begin() as tx:
        row = _held(tx, id)
        consumer = _consumer(specs["consumer"]) if "consumer" in specs else row.consumer
        merged = {**row.specs, **{key: value for key, value in specs.items() if key != "consumer"}}
        rules.check(merged)
        qos.update(tx, id, consumer=consumer, specs=merged)


def delete_keys(site: Site, id: str, keys: Sequence[str]) -> None:
    with site.db.begin() as tx:
        row = _held(tx, id)
        missing = [key for key in keys if key not in row.specs]
        if missing:
            raise errors.NotFound(f"QoS specs {id} have no key {', '.join(missing)}.")
        qos.update(tx, id, specs={key: value for key, value in row.specs.items() if key not in keys})


def delete(site: Site, id: str, *, force: bool = False) -> None:
    """Remove them; `force` takes them from the types that have them."""
    with site.db.begin() as tx:
        row = _held(tx, id)
        if force:
            qos.take(tx, id)
        holders = qos.types_of(tx, id)
        if holders:
            names = ", ".join(holder.name for holder in holders)
            raise errors.InvalidState(f"QoS specs {row.name} are those of {names}: disassociate them, or use force.")
        qos.delete(tx, id)


def types_of(site: Site, id: str) -> list[Row]:
    with site.db.read() as tx:
        require(tx, id)
        return qos.types_of(tx, id)


def associate(site: Site, id: str, type_id: str) -> None:
    """Let a type have them. It has one at most, and saying it twice is fine."""
    with site.db.begin() as tx:
        _held(tx, id)
        _type(tx, type_id)
        if not qos.give(tx, id, type_id):
            raise errors.Invalid(
                f"Volume type {type_id} has other QoS specs; disassociate those first.", field="vol_type_id"
            )


def disassociate(site: Site, id: str, type_id: str | None = None) -> None:
    """Take them from a type, or from all; a type that does not have them is fine."""
    with site.db.begin() as tx:
        _held(tx, id)
        if type_id is not None:
            _type(tx, type_id)
        qos.take(tx, id, type_id)


def told(tx: Tx, type_id: str | None, size_gib: int) -> dict[str, str] | None:
    """What whoever connects a volume is told of its promises."""
    row = qos.of_type(tx, type_id) if type_id is not None else None
    return rules.for_consumer(row.consumer, row.specs, size_gib) if row is not None else None


def _held(tx: Tx, id: str) -> Row:
    row = qos.hold(tx, id)
    if row is None:
        raise errors.NotFound(f"No such qos spec {id}.")
    return row


def _type(tx: Tx, type_id: str) -> Row:
    row = types.find(tx, type_id)
    if row is None or row.id != type_id:
        raise errors.NotFound(f"Volume type {type_id} could not be found.")
    return row


def _consumer(text: str) -> str:
    if text not in rules.CONSUMERS:
        raise errors.Invalid(
            f"consumer must be one of {', '.join(rules.CONSUMERS)}, and not {text!r}.", field="consumer"
        )
    return text
