"""A service with traces starts, ends and works whatever becomes of the collector, and says what it needs for them."""

from __future__ import annotations

import sys
import time

import pytest
from tests import ports
from tests.collector import Collector

from brickyard.core import errors, settings, spans
from brickyard.daemons import tracing


def to(url: str) -> settings.Tracing:
    return settings.Tracing(f"{url}/v1/traces")


def test_without_the_sdk_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)  # as where it is not installed
    with (
        pytest.raises(errors.Invalid, match=r"pip install 'brickyard\[otel\]'") as caught,
        tracing.of(to("http://c"), "api", "h"),
    ):
        pass
    assert caught.value.field == "endpoint"
    assert not spans.on()


def test_what_waits_is_sent_at_the_end_and_nothing_is_made_afterwards() -> None:
    collector = Collector()
    with tracing.of(to(collector.url), "api", "h1"):
        with spans.begun("first", "server", parent=None) as span:
            carried = spans.carried()
            span.note(http_status=200, volume=None)
        with pytest.raises(errors.NotFound), spans.begun("second", "server", parent=carried["traceparent"]):
            raise errors.NotFound("It is not there.")
        with pytest.raises(spans.NotFailed), spans.begun("third", "server", parent="nonsense"):
            raise spans.NotFailed
    assert (spans.on(), spans.carried(), spans.trace_id()) == (False, {}, None)
    with spans.begun("after", "server", parent=None):
        assert not spans.carried()
    first, second, third = collector.spans()
    assert first.facts == {"http.response.status_code": 200} and first.service == "brickyard-api"
    assert (second.trace, second.parent, second.error) == (first.trace, first.id, "It is not there.")
    assert second.events == ("exception",)
    assert third.error is None and not third.parent and third.trace != first.trace
    collector.close()


def test_a_collector_that_is_away_holds_nobody_up() -> None:
    with tracing.of(to(f"http://127.0.0.1:{ports.one()}"), "api", "h1"):
        for _ in range(5000):  # more than wait in memory
            with spans.begun("one", "server", parent=None):
                pass
        began = time.monotonic()
    assert time.monotonic() - began < 60, "the end waits for some seconds at most"


def test_work_that_nobody_asked_for_makes_no_span() -> None:
    collector = Collector()
    with tracing.of(to(collector.url), "node", "h1"):
        with spans.of("run lvs"):
            assert not spans.carried()
        with spans.within("00-" + 32 * "a" + "-" + 16 * "b" + "-01"), spans.of("run lvcreate"):
            pass
    [span] = collector.spans()
    assert (span.name, span.trace, span.parent) == ("run lvcreate", 32 * "a", 16 * "b")
    collector.close()
