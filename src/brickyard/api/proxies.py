"""Proxies in front of the API: what one says of a request, so that links in answers lead back to it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

Wsgi = Callable[..., Any]
SCHEME = re.compile(r"https?")
HOST = re.compile(r"[A-Za-z0-9._-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?")
PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)+")
PAIR = re.compile(r'\s*([A-Za-z]+)=(?:"([^"]*)"|([^";,\s]*))\s*')


def forwarded(app: Wsgi) -> Wsgi:
    """The application, which believes what the proxy in front says of scheme, host and prefix.

    Only for services that nobody reaches but through a proxy which sets these headers itself: `Forwarded`, or else
    X-Forwarded-Proto, -Host, -Port and -Prefix. Of several proxies the first one counts: clients have called that.
    """

    def call(environ: dict[str, Any], start_response: Any) -> Any:
        said = _said(environ)
        if SCHEME.fullmatch(said.get("proto", "")):
            environ["wsgi.url_scheme"] = said["proto"]
        if HOST.fullmatch(said.get("host", "")):
            environ["HTTP_HOST"] = said["host"]
        if PREFIX.fullmatch(said.get("prefix", "")):
            environ["SCRIPT_NAME"] = said["prefix"] + environ.get("SCRIPT_NAME", "")
        return app(environ, start_response)

    return call


def _said(environ: dict[str, Any]) -> dict[str, str]:
    def first(name: str) -> str:
        return str(environ.get(f"HTTP_X_FORWARDED_{name}", "")).partition(",")[0].strip()

    said = {"proto": first("PROTO"), "host": first("HOST"), "prefix": first("PREFIX").rstrip("/")}
    if (port := first("PORT")).isdigit() and said["host"] and not re.search(r":\d+$", said["host"]):
        usual = {"http": "80", "https": "443"}.get(said["proto"])
        said["host"] += "" if port == usual else f":{port}"
    if standard := environ.get("HTTP_FORWARDED"):
        pairs = PAIR.findall(standard.partition(",")[0])
        said |= {name.lower(): quoted or plain for name, quoted, plain in pairs if name.lower() in ("proto", "host")}
    return said
