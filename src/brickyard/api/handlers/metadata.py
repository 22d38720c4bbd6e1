"""/volumes/{id}/metadata and /snapshots/{id}/metadata: the same, but for the ETag that volumes have."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from brickyard.api.request import Handler, Reply, Request
from brickyard.core import errors
from brickyard.service import metadata

RULES = {  # what is done → the rule, for volumes and for snapshots
    "volume": {
        "get": "volume:get_volume_metadata",
        "create": "volume:create_volume_metadata",
        "update": "volume:update_volume_metadata",
        "delete": "volume:delete_volume_metadata",
    },
    "snapshot": {
        "get": "volume:get_snapshot_metadata",
        "create": "volume:update_snapshot_metadata",
        "update": "volume:update_snapshot_metadata",
        "delete": "volume:delete_snapshot_metadata",
    },
}
ETAG_SINCE = "3.15"


class Stale(Exception):
    """The metadata is not what the request's If-Match says."""


def index(noun: str) -> Handler:
    def get(request: Request, id: str) -> Reply:
        body = _render(metadata.show(request.site, request.caller, noun, id, RULES[noun]["get"]))
        tagged = noun == "volume" and request.since(ETAG_SINCE)
        return Reply(200, body, {"ETag": _etag(body)} if tagged else {})

    return get


def merge(noun: str) -> Handler:
    def post(request: Request, id: str) -> Reply:
        change = metadata.merged(request.body["metadata"])
        after = metadata.change(request.site, request.caller, noun, id, RULES[noun]["create"], change)
        return Reply(200, {"metadata": after})

    return post


def replace(noun: str) -> Handler:
    def put(request: Request, id: str) -> Reply:
        change = _if_match(request, noun, lambda before: request.body["metadata"])
        return _changed(request, noun, id, change, lambda after: {"metadata": after})

    return put


def show(noun: str) -> Handler:
    def get(request: Request, id: str, key: str) -> Reply:
        found = metadata.show(request.site, request.caller, noun, id, RULES[noun]["get"])
        return Reply(200, {"meta": {key: metadata.require(found, key)}})

    return get


def set_key(noun: str) -> Handler:
    def put(request: Request, id: str, key: str) -> Reply:
        meta = request.body["meta"]
        if list(meta) != [key]:
            raise errors.Invalid(f"The body must have the one key of the URL, {key}.", field="meta")
        change = _if_match(request, noun, metadata.merged(meta))
        return _changed(request, noun, id, change, lambda after: {"meta": {key: after[key]}})

    return put


def delete_key(noun: str) -> Handler:
    def delete(request: Request, id: str, key: str) -> Reply:
        metadata.change(request.site, request.caller, noun, id, RULES[noun]["delete"], metadata.without(key))
        return Reply(200)

    return delete


def _changed(request: Request, noun: str, id: str, change: metadata.Change, view: Any) -> Reply:
    try:
        after = metadata.change(request.site, request.caller, noun, id, RULES[noun]["update"], change)
    except Stale:
        return Reply(412)
    return Reply(200, view(after))


def _if_match(request: Request, noun: str, change: metadata.Change) -> metadata.Change:
    """The change, if the metadata is still what the request has seen; looked at in the transaction of the change."""
    seen = request.headers.get("IF-MATCH")
    if seen is None or noun != "volume" or not request.since(ETAG_SINCE):
        return change

    tags = {tag.strip().strip('"') for tag in seen.split(",")}  # a list of them, or * for whatever there is

    def checked(before: dict[str, Any]) -> dict[str, Any]:
        if tags.isdisjoint(("*", _etag(_render(before)))):
            raise Stale
        return change(before)

    return checked


def _render(found: dict[str, Any]) -> bytes:
    return msgspec.json.encode({"metadata": found})


def _etag(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()
