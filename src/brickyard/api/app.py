"""The WSGI application: routing, authentication, versions, bodies and errors, the same for every route.

Nothing in here knows a resource. A request passes: request id, caller, microversion, policy, schema, handler; and
whatever is raised on the way becomes the fault that the wire has for it.
"""

from __future__ import annotations

import functools
import logging
import re
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import falcon
import msgspec

from brickyard.api import auth, cors, faults, own, proxies, routes, spans_of, validation, versions
from brickyard.api.request import Reply, Request
from brickyard.core import clock, errors, spans, trace
from brickyard.service.site import Caller, Site

LOG = logging.getLogger("brickyard.request")
MAX_BODY = 114688
DRAIN_BYTES = 2**20  # of what is not looked at: of a request that is refused, or of a body on GET
MAX_DEPTH = 64  # of what is nested in a body; no request needs more than five levels
GLOBAL_ID = re.compile(r"req-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")  # what a caller calls the work of this request
JSON_TYPES = ("application/json", "application/vnd.openstack.volume+json")


def create_app(site: Site) -> Callable[..., Any]:
    """The application for one site; a plain WSGI callable."""
    app = falcon.App(middleware=[Around(site)], sink_before_static_route=False)
    app.req_options.strip_url_path_trailing_slash = False
    app.resp_options.default_media_type = "application/json"
    app.add_error_handler((Exception, falcon.HTTPError), _on_error)
    for prefix, table in (("/v3", routes.ROUTES), ("", own.ROUTES)):
        for path in dict.fromkeys(route.path for route in table):
            app.add_route(prefix + path, _resource(site, [route for route in table if route.path == path]))
    wrapped: Callable[..., Any] = proxies.forwarded(app) if site.settings.proxy_headers else app
    return cors.allowing(wrapped, site.settings.cors) if site.settings.cors.allowed_origins else wrapped


class Around:
    """Middleware: what happens to every request before and after its handler."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.project = re.compile(rf"/v3/({site.settings.project_id_regex})(/.*|$)")

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        context = req.context
        context.started = clock.monotonic()
        context.request_id = f"req-{uuid.uuid4()}"
        theirs = req.get_header("X-OpenStack-Request-ID") or ""
        trace.begin(request_id=context.request_id, global_request_id=theirs if GLOBAL_ID.fullmatch(theirs) else None)
        context.span = spans_of.begin(req) if spans.on() else None
        context.version = None
        context.project = None
        if match := self.project.match(req.path):
            context.project, rest = match[1], match[2]
            req.path = f"/v3{rest}"
        if req.path.endswith(".json") and not req.path.startswith("/v1"):
            req.path = req.path[: -len(".json")]

    def process_response(self, req: falcon.Request, resp: falcon.Response, resource: Any, ok: bool) -> None:
        context = req.context
        if req.content_length:  # the server closes the connection on a body that nobody has read, without saying so
            req.bounded_stream.read(DRAIN_BYTES)
        resp.set_header("x-openstack-request-id", context.request_id)
        if resp.data is not None:
            resp.set_header("x-compute-request-id", context.request_id)
        if not req.path.startswith("/v1"):
            resp.set_header("OpenStack-API-Version", f"volume {context.version or versions.MIN}")
            resp.set_header("Vary", "OpenStack-API-Version")
        own.observe(req, resp, clock.monotonic() - context.started)
        if context.span is not None:
            spans_of.end(req, resp, context.span)
        trace.begin()


def _resource(site: Site, table: list[routes.Route]) -> object:
    """A Falcon resource with a responder for each method of one path."""
    responders: dict[str, Any] = {}
    for method in dict.fromkeys(route.method for route in table):
        windows = {route.since: route for route in table if route.method == method}
        responders[f"on_{method.lower()}"] = _responder(site, windows)
    return type("Resource", (), responders)()


def _responder(site: Site, windows: dict[str, routes.Route]) -> Callable[..., None]:
    """A responder; the routes of one method and path differ by the microversion since which they hold."""
    picked: dict[versions.Version, routes.Route | None] = {}  # as many as there are microversions

    def respond(self: object, req: falcon.Request, resp: falcon.Response, **params: str) -> None:
        context = req.context
        v3 = not req.path.startswith("/v1")
        context.version = versions.requested(req.get_header("OpenStack-API-Version")) if v3 else versions.MAX
        version = context.version
        if version not in picked:
            picked[version] = versions.pick(windows, version) if v3 else next(iter(windows.values()))
        route = picked[version]
        if route is None:
            raise errors.NotFound("The resource could not be found.")
        context.route = route.path
        if route.public:
            caller = Caller(auth.NOBODY, auth.NOBODY, (), context.request_id)
        else:
            caller = auth.caller(site, req.env, context.project, context.request_id)
        context.caller = caller
        if route.policy:
            site.policy.check(route.policy, caller)
        query = {name: value if isinstance(value, str) else value[-1] for name, value in req.params.items()}
        path = req.path.removeprefix("/v3")
        if "\0" in path:
            raise errors.NotFound("The resource could not be found: no name and no id has a NUL character.")
        for name, value in query.items():
            if "\0" in name + value:
                raise errors.Invalid("A query must not have NUL characters.", field=name.replace("\0", ""))
        body = _body(req, route)
        request = Request(site, caller, context.version, query, body, _base(site, req), req.headers, path)
        if route.stream:  # what was read of a body cannot be read again
            reply = route.handler(request, **params)
        else:
            reply = site.db.repeating(lambda: route.handler(request, **params))
        _send(resp, reply)

    return respond


def _body(req: falcon.Request, route: routes.Route) -> Any:
    """The decoded body, checked against the schema of the request's microversion; a stream for routes that take one."""
    if req.method not in ("POST", "PUT", "PATCH"):
        return None
    if route.stream:
        return req.bounded_stream
    if (req.content_length or 0) > MAX_BODY:
        raise errors.OverQuota(f"The request body is larger than {MAX_BODY} bytes.")
    raw = req.bounded_stream.read(MAX_BODY + 1)
    kind = (req.content_type or "").partition(";")[0].strip()
    if raw and kind and kind not in JSON_TYPES:
        raise falcon.HTTPUnsupportedMediaType(description=f"Send application/json, and not {kind}.")
    body = None
    if raw and kind:
        try:
            body = msgspec.json.decode(raw)
        except UnicodeDecodeError as error:
            raise errors.Invalid(f"Malformed request body: it is not UTF-8: {error.reason}.") from None
        except (msgspec.DecodeError, RecursionError) as error:
            raise errors.Invalid(f"Malformed request body: {error}") from None
        if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH and _is_deeper(body, MAX_DEPTH):
            raise errors.Invalid(f"Malformed request body: it is nested deeper than {MAX_DEPTH} levels.")
        if b"\\u0000" in raw and _has_nul(body):  # which not every database keeps in a text
            raise errors.Invalid("Malformed request body: it has a text with a NUL character; leave that out.")
    schema = versions.pick(dict(route.body), req.context.version) if route.body else None
    if schema is not None:
        if not isinstance(body, dict):
            raise errors.Invalid("Malformed request body: it must be a JSON object.")
        validation.check(schema, body)
    return body


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether more than `levels` objects and arrays lie in each other; what comes later may then walk them."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return inside is not None and (levels == 0 or any(_is_deeper(item, levels - 1) for item in inside))


def _has_nul(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_has_nul(part) for pair in value.items() for part in pair)
    return any(map(_has_nul, value)) if isinstance(value, list) else isinstance(value, str) and "\0" in value


def _base(site: Site, req: falcon.Request) -> str:
    """The URL that links begin with, in the form of the request: with the project where the request had it."""
    root = _root(site.settings.public_endpoint or req.prefix)
    return f"{root}/v3/{req.context.project}" if req.context.project else f"{root}/v3"


@functools.lru_cache(maxsize=64)
def _root(prefix: str) -> str:
    return re.sub(r"/v\d+$", "", prefix.rstrip("/"))


def _send(resp: falcon.Response, reply: Reply) -> None:
    resp.status = reply.status
    if reply.status != 204:  # a body that cannot be has no type
        resp.content_type = reply.content_type
    for name, value in reply.headers.items():
        resp.set_header(name, value)
    if reply.stream is not None:
        resp.stream = reply.stream
    elif isinstance(reply.body, bytes):
        resp.data = reply.body
    elif reply.body is not None:
        resp.data = msgspec.json.encode(reply.body)


def _on_error(req: falcon.Request, resp: falcon.Response, error: Exception, params: Mapping[str, Any]) -> None:
    status, message = 500, "The server has an internal error; its log has the details under the request id."
    if isinstance(error, errors.BrickyardError):
        status, message = error.status, error.message
        if isinstance(error, versions.Unserved):
            req.context.version = error.version
    elif isinstance(error, falcon.HTTPStatus | falcon.HTTPError):
        status = int(str(error.status)[:3])
        message = getattr(error, "description", None) or falcon.code_to_http_status(status)[4:]
    if status >= 500:
        LOG.error("request failed", exc_info=error)
    if status == 413:
        resp.set_header("Retry-After", "0")
    if isinstance(error, errors.Unauthorized) and error.facts.get("challenge"):
        resp.set_header("WWW-Authenticate", error.facts["challenge"])
    resp.status = status
    resp.content_type = "application/json"
    body = faults.own(status, message, error) if req.path.startswith("/v1") else faults.v3(status, message)
    resp.data = msgspec.json.encode(body)
