"""Browsers: which pages' scripts may call the API. It wraps the application, so that its errors can be read as well."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from brickyard.core.settings import Cors

Wsgi = Callable[..., Any]
SIMPLE = frozenset({"accept", "accept-language", "content-language", "content-type", "origin"})  # always allowed


def allowing(app: Wsgi, cors: Cors) -> Wsgi:
    """The application, for scripts of pages from the origins that `cors` allows."""

    def call(environ: dict[str, Any], start_response: Any) -> Any:
        origin = environ.get("HTTP_ORIGIN")
        if origin is None:
            return app(environ, start_response)
        asked = environ.get("HTTP_ACCESS_CONTROL_REQUEST_METHOD")
        if environ["REQUEST_METHOD"] == "OPTIONS" and asked:
            headers = environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", "")
            start_response(
                "200 OK", [("Content-Type", "text/plain"), *_preflight(cors, origin, asked, _words(headers))]
            )
            return []
        more = _allowed(cors, origin)
        if more and cors.expose_headers:
            more.append(("Access-Control-Expose-Headers", ", ".join(cors.expose_headers)))

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            return start_response(status, [*headers, *more, ("Vary", "Origin")], exc_info)

        return app(environ, start)

    return call


def _preflight(cors: Cors, origin: str, method: str, headers: Iterable[str]) -> list[tuple[str, str]]:
    """Answer of a browser's question whether it may send such a request; without these headers it does not."""
    vary = [("Vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers")]
    known = SIMPLE | {name.lower() for name in cors.allow_headers}
    allowed = _allowed(cors, origin)
    if not allowed or method not in cors.allow_methods or not {name.lower() for name in headers} <= known:
        return vary
    allowed.append(("Access-Control-Allow-Methods", ", ".join(cors.allow_methods)))
    allowed.append(("Access-Control-Allow-Headers", ", ".join(cors.allow_headers)))
    allowed.append(("Access-Control-Max-Age", str(cors.max_age_s)))
    return vary + allowed


def _allowed(cors: Cors, origin: str) -> list[tuple[str, str]]:
    """The headers that let a page of this origin read an answer; none where it may not."""
    if origin in cors.allowed_origins:
        found = [("Access-Control-Allow-Origin", origin)]
        return [*found, ("Access-Control-Allow-Credentials", "true")] if cors.allow_credentials else found
    return [("Access-Control-Allow-Origin", "*")] if "*" in cors.allowed_origins else []


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]
