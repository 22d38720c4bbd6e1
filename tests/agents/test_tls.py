"""Calls over TLS, and brokers that cannot prove who they are."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from tests import rabbit
from tests.agents.test_calls import Bench, label

from brickyard.core import errors
from brickyard.core.bricks import Did
from brickyard.core.settings import Tls
from brickyard.nodes import broker as door


def test_calls_go_over_tls(tmp_path: Path, broker: rabbit.Rabbit) -> None:
    made = Bench(tmp_path, broker, tls=True)
    try:
        assert made.broker.servers == (f"127.0.0.1:{broker.amqps}",)
        assert made.node.create_brick("m", label(), 10) is Did.CHANGED
    finally:
        made.close()


def test_a_broker_that_cannot_prove_its_name_is_refused(broker: rabbit.Rabbit) -> None:
    good = broker.settings(tls=True)
    by_nobody = dataclasses.replace(good, tls=Tls())
    by_another_name = dataclasses.replace(good, servers=(f"localhost:{broker.amqps}",))
    for wrong in (by_nobody, by_another_name):
        with pytest.raises(errors.Unavailable, match="certificate verify failed"):
            door.connect(wrong, "test")
    door.connect(good, "test").release()
