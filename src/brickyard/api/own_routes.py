"""The whole of /v1 on one screen: method, path, handler, policy, body, and what the API document says besides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from brickyard.api.handlers import (
    own_agents,
    own_audit,
    own_flavors,
    own_flows,
    own_hosts,
    own_images,
    own_instances,
    own_pools,
    own_receipts,
    own_reservations,
)
from brickyard.api.request import Handler
from brickyard.api.routes import Route
from brickyard.api.schemas import own as schemas

Schema = dict[str, Any]
JSON, TEXT, EVENTS, BINARY = "application/json", "text/plain", "text/event-stream", "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Operation:
    """A route, and its answers: status → name of a schema in schemas.ANSWERS, or None where there is no body."""

    route: Route
    answers: Mapping[int, str | None]
    query: Mapping[str, Schema] = field(default_factory=dict)
    produces: str = JSON
    body: Schema | None = None


def op(
    method: str,
    path: str,
    handler: Handler,
    policy: str | None,
    answers: Mapping[int, str | None],
    body: Schema | None = None,
    query: Mapping[str, Schema] | None = None,
    **more: Any,
) -> Operation:
    produces = more.pop("produces", JSON)
    rule = f"brickyard:{policy}" if policy else None
    route = Route(method, f"/v1{path}", handler, rule, body={"3.0": body} if body else {}, **more)
    return Operation(route, answers, query or {}, produces, body)


ALL: dict[str, Schema] = {"all_projects": {"type": "boolean"}}
DEVICE: dict[str, Schema] = {"device": {"type": "string"}}
NAME: dict[str, Schema] = {"name": {"type": "string"}}
LIMIT: dict[str, Schema] = {"limit": {"type": "integer", "minimum": 1, "maximum": 1000}}
PAGE: dict[str, Schema] = {**ALL, **LIMIT, "marker": {"type": "string"}}
RECEIPTS: dict[str, Schema] = {
    **LIMIT,
    **{name: {"type": "string"} for name in ("marker", "pool", "brick_id", "project")},
}
STATUS: dict[str, Schema] = {"status": {"type": "string"}}
FLOWS: dict[str, Schema] = {**ALL, **LIMIT, "open": {"type": "boolean"}, "resource_id": {"type": "string"}}
BYTES: dict[str, Schema] = {"max_bytes": {"type": "integer", "minimum": 1, "maximum": own_instances.CONSOLE_BYTES_MAX}}
VOLUMES: dict[str, Schema] = {"volumes": {"enum": ["keep", "delete"], "default": "keep"}}

# fmt: off
OPERATIONS: tuple[Operation, ...] = (
    op("GET",    "/hosts",                   own_hosts.index,        "host_get",          {200: "Hosts"}),
    op("GET",    "/hosts/{name}",            own_hosts.show,         "host_get",          {200: "Host"}),
    op("PATCH",  "/hosts/{name}",            own_hosts.update,       "host_update",       {200: "Host"}, schemas.HOST_UPDATE),
    op("GET",    "/hosts/{name}/devices",    own_hosts.devices,      "host_get",          {200: "Devices"}),
    op("GET",    "/hosts/{name}/loss",       own_hosts.loss,         "host_get",          {200: "Loss"}),
    op("POST",   "/hosts/{name}/lost",       own_hosts.lose,         "host_lose",         {202: "Begun"}, schemas.HOST_LOST),
    op("POST",   "/hosts/{name}/back",       own_hosts.back,         "host_back",         {202: "Begun"}),
    op("GET",    "/hosts/{name}/drain",      own_hosts.drained,      "host_get",          {200: "Drain"}),
    op("POST",   "/hosts/{name}/drain",      own_hosts.drain,        "host_drain",        {202: "Begun"}, schemas.HOST_DRAIN),
    op("DELETE", "/hosts/{name}/drain",      own_hosts.end_drain,    "host_drain",        {202: "Begun"}),

    op("GET",    "/agents",                  own_agents.index,       "agent_get",         {200: "Agents"}),
    op("POST",   "/agents",                  own_agents.enroll,      "agent_enroll",      {201: "Invitation"}, schemas.AGENT_ENROLL),
    op("POST",   "/agents/credentials",      own_agents.credentials, None,                {200: "Credentials"}, schemas.AGENT_CREDENTIALS, public=True),
    op("DELETE", "/agents/{host}",           own_agents.dismiss,     "agent_dismiss",     {204: None}),

    op("GET",    "/pools",                   own_pools.index,        "pool_get",          {200: "Pools"}),
    op("POST",   "/pools",                   own_pools.create,       "pool_create",       {201: "Pool", 200: "Pool"}, schemas.POOL_CREATE),
    op("GET",    "/pools/{name}",            own_pools.show,         "pool_get",          {200: "Pool"}),
    op("PATCH",  "/pools/{name}",            own_pools.update,       "pool_update",       {200: "Pool"}, schemas.POOL_UPDATE),
    op("DELETE", "/pools/{name}",            own_pools.delete,       "pool_delete",       {204: None}),
    op("POST",   "/pools/{name}/devices",    own_pools.extend,       "pool_update",       {200: "Pool"}, schemas.POOL_EXTEND),
    op("DELETE", "/pools/{name}/devices",    own_pools.remove,       "pool_update",       {200: "Pool"}, query=DEVICE),
    op("POST",   "/pools/{name}/drain",      own_pools.drain,        "pool_update",       {202: "Begun"}, schemas.POOL_DRAIN),

    op("GET",    "/flavors",                 own_flavors.index,      "flavor_get",        {200: "Flavors"}),
    op("POST",   "/flavors",                 own_flavors.create,     "flavor_create",     {201: "Flavor"}, schemas.FLAVOR_CREATE),
    op("GET",    "/flavors/{name}",          own_flavors.show,       "flavor_get",        {200: "Flavor"}),
    op("DELETE", "/flavors/{name}",          own_flavors.delete,     "flavor_delete",     {204: None}),

    op("GET",    "/images",                  own_images.index,       "image_get",         {200: "Images"}, query=NAME),
    op("POST",   "/images",                  own_images.create,      "image_create",      {201: "Image"}, schemas.IMAGE_CREATE),
    op("GET",    "/images/{id}",             own_images.show,        "image_get",         {200: "Image"}),
    op("PATCH",  "/images/{id}",             own_images.update,      "image_update",      {200: "Image"}, schemas.IMAGE_UPDATE),
    op("DELETE", "/images/{id}",             own_images.delete,      "image_delete",      {204: None}),
    op("PUT",    "/images/{id}/files/{role}", own_images.upload,     "image_upload",      {200: "Image"}, stream=True),

    op("GET",    "/instances",               own_instances.index,    "instance_get",      {200: "Instances"}, query={**PAGE, **NAME, **STATUS}),
    op("POST",   "/instances",               own_instances.boot,     "instance_boot",     {202: "Instance"}, schemas.INSTANCE_BOOT),
    op("GET",    "/instances/{id}",          own_instances.show,     "instance_get",      {200: "Instance"}),
    op("DELETE", "/instances/{id}",          own_instances.delete,   "instance_delete",   {202: "Deletion"}, query=VOLUMES),
    op("POST",   "/instances/{id}/start",    own_instances.start,    "instance_start",    {202: "Instance"}),
    op("POST",   "/instances/{id}/stop",     own_instances.stop,     "instance_stop",     {202: "Instance"}),
    op("GET",    "/instances/{id}/console",  own_instances.console,  "instance_console",  {200: None}, query=BYTES, produces=TEXT),
    op("POST",   "/instances/{id}/volumes",  own_instances.attach,   "instance_attach",   {200: "Attachment"}, schemas.INSTANCE_ATTACH),
    op("DELETE", "/instances/{id}/volumes/{volume_id}", own_instances.detach, "instance_detach", {204: None}),

    op("GET",    "/reservations",            own_reservations.index, "reservation_get",   {200: "Reservations"}, query=ALL),
    op("GET",    "/reservations/{id}",       own_reservations.show,  "reservation_get",   {200: "Reservation"}),
    op("DELETE", "/reservations/{id}",       own_reservations.clear, "reservation_clear", {204: None}),
    op("POST",   "/reservations/{id}/renew", own_reservations.renew, "reservation_renew", {200: "Reservation"}),

    op("GET",    "/receipts",                own_receipts.index,     "receipt_get",       {200: "Receipts"}, query=RECEIPTS),
    op("GET",    "/receipts/{id}",           own_receipts.show,      "receipt_get",       {200: "Receipt"}),

    op("GET",    "/flows",                   own_flows.index,        "flow_get",          {200: "Flows"}, query=FLOWS),
    op("GET",    "/flows/{id}",              own_flows.show,         "flow_get",          {200: "FlowWithLog"}),
    op("GET",    "/flows/{id}/events",       own_flows.events,       "flow_get",          {200: None}, produces=EVENTS),

    op("GET",    "/audit",                   own_audit.index,        "audit_get",         {200: "Audit"}),
    op("POST",   "/audit",                   own_audit.repair,       "audit_repair",      {200: "Audit"}, schemas.AUDIT_REPAIR),

    op("POST",   "/explain",                 own_instances.explain,  "explain",           {200: "Explanation"}, schemas.EXPLAIN),
)
# fmt: on
