"""Delete an image of the cloud's image service that will never have its data.

delete   it is not there     undo: none

It is asked for as often as it takes, every so often, until the service answers.
"""

from __future__ import annotations

import uuid
from typing import Any

from brickyard.core import errors
from brickyard.db import flows
from brickyard.db.database import Tx
from brickyard.flows import engine
from brickyard.flows.engine import Act, Flow, Later, Run

PAUSE_S = 10.0
NAME = "forget_image"

# parameters --------------------------------------------------------------------------------------------------------


def params(image_id: str) -> dict[str, Any]:
    return {"image_id": image_id}


def queue(tx: Tx, image_id: str, *, project_id: str, request_id: str | None, in_s: float = 0) -> str:
    """Have it deleted, in a while; the flow, which may be withdrawn until it begins."""
    id = str(uuid.uuid4())
    flows.insert(
        tx,
        id=id,
        name=NAME,
        params=params(image_id),
        project_id=project_id,
        resource_id=image_id,
        request_id=request_id,
        in_s=in_s,
    )
    return id


# implementations ---------------------------------------------------------------------------------------------------


def delete(run: Run) -> None:
    if run.world.glance is None:
        return  # it is no longer known where it was
    try:
        run.world.glance.delete(run.params["image_id"])
    except errors.ImageServiceUnavailable as error:
        raise Later(PAUSE_S) from error


def failed(run: Run, tx: Tx, error: errors.BrickyardError) -> None:
    """It is without data, and its owner may delete it."""


# definition --------------------------------------------------------------------------------------------------------

FLOW = Flow(NAME, (Act("delete", do=delete, undo=engine.nothing),), failed=failed)
