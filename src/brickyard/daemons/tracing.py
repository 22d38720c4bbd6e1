"""Spans for a collector of OpenTelemetry, where [tracing] names one: the only place that knows the SDK.

The SDK comes with the extra `otel` and is imported when it is needed. Spans wait in memory and go out some at a time,
from a thread of the SDK: a collector that is slow, or away, costs spans, and no request and no flow waits for it.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import logging
import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from brickyard.core import errors, settings, spans, trace

if TYPE_CHECKING:
    from opentelemetry import trace as otel
    from opentelemetry.sdk.trace import TracerProvider

EXPORT_S = 5.0  # for one batch, with its repeats
STOP_S = 5.0  # for all that waits when the process ends
NOT_FACTS = frozenset({"trace_id"})  # of the log, which a span has anyway
MESSAGE_MAX = 2000  # characters of an error


@contextlib.contextmanager
def of(found: settings.Tracing | None, role: str, host: str) -> Iterator[None]:
    """While the block runs this process makes spans, if it is to. Invalid when the SDK is not installed."""
    if found is None:
        yield
        return
    provider = _provider(found, role, host)
    spans.use(Tracer(provider.get_tracer("brickyard", importlib.metadata.version("brickyard"))))
    try:
        yield
    finally:
        spans.use(None)
        _end(provider)


def _provider(found: settings.Tracing, role: str, host: str) -> TracerProvider:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
    except ImportError as error:
        raise errors.Invalid(
            f"[tracing] has an endpoint, and {error.name} is not installed: pip install 'brickyard[otel]', "
            "or leave the endpoint out",
            field="endpoint",
        ) from error
    for chatty in ("opentelemetry", "urllib3"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(found.sampling_ratio)),
        resource=Resource.create({
            "service.namespace": "brickyard",
            "service.name": f"brickyard-{role}",
            "service.version": importlib.metadata.version("brickyard"),
            "host.name": host,
        }),
        shutdown_on_exit=False,
    )  # fmt: skip
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(found.endpoint, timeout=EXPORT_S)))
    return provider


def _end(provider: TracerProvider) -> None:
    """Send what waits. The SDK's own patience is half a minute, and whoever ends a service waits for it."""
    ending = threading.Thread(target=provider.shutdown, name="tracing", daemon=True)
    ending.start()
    ending.join(STOP_S)


class Tracer:
    """A core.spans.Tracer, of the SDK."""

    def __init__(self, tracer: otel.Tracer) -> None:
        from opentelemetry import context
        from opentelemetry import trace as otel
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._tracer, self._context, self._otel = tracer, context, otel
        self._format = TraceContextTextMapPropagator()
        self._kinds = {kind.name.lower(): kind for kind in otel.SpanKind}

    @contextlib.contextmanager
    def span(self, name: str, kind: str, parent: str | None, facts: Mapping[str, spans.Fact]) -> Iterator[spans.Span]:
        known = {key: fact for key, fact in trace.now().items() if key not in NOT_FACTS}
        with self._tracer.start_as_current_span(
            name,
            context=self._format.extract({spans.TRACEPARENT: parent}) if parent else None,
            kind=self._kinds[kind],
            attributes=_attributes({**known, **facts}),
            record_exception=False,
            set_status_on_exception=False,
        ) as made:
            span = Span(made)
            try:
                yield span
            except spans.NotFailed:
                raise
            except Exception as error:
                span.failed(error)
                raise

    @contextlib.contextmanager
    def within(self, parent: str) -> Iterator[None]:
        token = self._context.attach(self._format.extract({spans.TRACEPARENT: parent}))
        try:
            yield
        finally:
            self._context.detach(token)

    def carried(self) -> str | None:
        into: dict[str, str] = {}
        self._format.inject(into)
        return into.get(spans.TRACEPARENT)


class Span:
    """A core.spans.Span. Facts without a name that OpenTelemetry has given are ours: brickyard.flow and so on."""

    def __init__(self, span: otel.Span) -> None:
        self._span = span

    def note(self, **facts: spans.Fact) -> None:
        self._span.set_attributes(_attributes(facts))

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def fail(self, message: str) -> None:
        from opentelemetry.trace import Status, StatusCode

        self._span.set_status(Status(StatusCode.ERROR, message[:MESSAGE_MAX]))

    def failed(self, error: Exception) -> None:
        """Its type and what it says. Not where it was raised: the log has that, under the same request."""
        text = (error.message if isinstance(error, errors.BrickyardError) else str(error))[:MESSAGE_MAX]
        self._span.add_event("exception", {"exception.type": type(error).__name__, "exception.message": text})
        self.fail(text)


def _attributes(facts: Mapping[str, spans.Fact]) -> dict[str, str | int | float | bool]:
    """`http_route` is `http.route`, see STANDARD; what is not in there is `brickyard.` and its name."""
    return {STANDARD.get(name, f"brickyard.{name}"): fact for name, fact in facts.items() if fact is not None}


STANDARD = {
    "http_method": "http.request.method",
    "http_route": "http.route",
    "http_status": "http.response.status_code",
    "url_path": "url.path",
    "program": "process.executable.name",
    "exit_code": "process.exit.code",
}
