"""Requests that schemathesis makes from the description of v3, as each role of two projects.

Nothing may be answered with 500 or in another form than the description says, and nobody but an administrator may be
shown anything of another project, or change it. What schemathesis makes up knows no ids; so that requests come further
than "not found", most of those in a request are replaced by ids of things that there are, of either project.

A round is a number of requests at one microversion, on sites of its own, and follows from its number.
"""

from __future__ import annotations

import collections
import functools
import json
import logging
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import hypothesis
import schemathesis
from schemathesis import checks
from schemathesis.specs.openapi import checks as conformance

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests import described
from tests.fuzz import projects

from brickyard.api import openapi_v3, versions
from brickyard.service import policy

VERSIONS = ("3.67", "3.0", "3.67", "3.27", "3.67", "3.44", "3.67", "3.59")  # of one round after the other
CHECKS = [
    checks.not_a_server_error,
    conformance.status_code_conformance,
    conformance.content_type_conformance,
    conformance.response_schema_conformance,
]
GENERATED = 0.2  # how often an id stays as it was made up
RIGHT = 4  # requests as described, for each that is not
OF_ONE_SITE = 400  # requests, after which much of what there was is gone
# key of a body or a query → collection whose ids it may name
NAMES = {
    "volume_id": "volumes", "volume_uuid": "volumes", "source_volid": "volumes", "new_volume": "volumes",
    "add_volumes": "volumes", "remove_volumes": "volumes", "resource_uuid": "volumes", "snapshot_id": "snapshots",
    "attachment_id": "attachments", "group_id": "groups", "source_group_id": "groups", "group_type": "group_types",
    "group_snapshot_id": "group_snapshots", "volume_type": "types", "new_type": "types", "volume_types": "types",
    "consistencygroup_id": "consistencygroups", "source_cgid": "consistencygroups", "cgsnapshot_id": "cgsnapshots",
    "backup_id": "backups", "vol_type_id": "types", "auth_key": "auth_key", "project": "projects",
    "project_id": "projects", "tenant_id": "projects", "host": "hosts", "binary": "binaries", "ref": "bricks",
    "marker": "anything", "local_to_instance": "volumes", "same_host": "volumes", "different_host": "volumes",
}  # fmt: skip
ODD = (
    "a\0b",
    "\U0001f600" * 300,
    "'",
    "%",
    "\\u0000",
    "e\u0301",
    "\u202e",
    "\x7f",
    "",
)  # texts that something may choke on
ODDITY = 0.03  # how often a text becomes one of them
SIZES = {"size", "new_size"}
VALUES = {  # what a text must be for its request to come far
    "connector": [{"host": "h1"}, {"host": "h1", "multipath": True}],
    "instance_uuid": [projects.SERVER, None],
    "level": ["INFO", "debug"],
    "status": ["available", "error", "in-use", "deleting"],
    "migration_policy": ["never", "on-demand"],
    "keys": [["k"]],
    "multiattach": [False, None],
    "key": ["k"],
}
NOTHING = {"imageRef", "image_id", "cluster", "availability_zone"}
SOURCES, MOSTLY = {"snapshot_id", "source_volid", "backup_id", "OS-SCH-HNT:scheduler_hints"}, 0.7  # at most one may be
FIXED = {
    "projects": [projects.OURS, projects.THEIRS],
    "os-quota-sets": [projects.OURS, projects.THEIRS],
    "default-types": [projects.OURS, projects.THEIRS],
    "os-quota-class-sets": ["default", "mine"],
    "hosts": ["h1@one", "h1@one", "h1@two", "h1@one#one", "h1@two#two", "h1"],
    "os-hosts": ["h1@one", "h1", "h1@one#one"],
    "capabilities": ["h1@one", "h1"],
    "binaries": ["cinder-volume", "cinder-volume", "cinder-scheduler", "*"],
    "extensions": ["os-quota-sets", "encryption"],
    "servers": [projects.SERVER],
}
CROSSING = (
    "/restore",
    "/volumes",
    "/groups/action",
    "/create_from_src",
)  # where an administrator may make something of another project's
ECHO = ("/projects/{id}", "/servers/{id}")  # they repeat the id, and know nothing of it


@dataclass
class Found:
    """What a run has seen: statuses, and failures by what is wrong, with one request each."""

    requests: int = 0
    statuses: collections.Counter[tuple[str, int]] = field(default_factory=collections.Counter)
    reached: set[str] = field(default_factory=set)  # operations that succeeded
    failures: dict[str, str] = field(default_factory=dict)


@functools.cache
def operations(version: str) -> list[tuple[Any, bool]]:
    """The operations at a microversion, and whether each has a body."""
    document = openapi_v3.document(versions.parse(version))
    loaded = schemathesis.openapi.from_dict(document)
    return [(one.ok(), bool(one.ok().body)) for one in loaded.get_all_operations()]


@functools.cache
def strategy(version: str, number: int, wrong: bool) -> Any:
    mode = schemathesis.GenerationMode.NEGATIVE if wrong else schemathesis.GenerationMode.POSITIVE
    return operations(version)[number][0].as_strategy(generation_mode=mode)


def cases(version: str, number: int, wrong: bool, count: int, seed: int) -> list[Any]:
    """So many requests of one operation."""
    made: list[Any] = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(strategy(version, number, wrong))
    def make(case: Any) -> None:
        made.append(case)

    make()
    return made


def round_(number: int, requests: int, found: Found) -> None:
    """One round; what is wrong is noted in `found`."""
    chance = random.Random(number)
    version = VERSIONS[number % len(VERSIONS)]
    table = operations(version)
    each = -(-requests // len(table))
    upcoming = [case for n in range(len(table)) for case in cases(version, n, False, each, number)]
    for n, (_, has_body) in enumerate(table):
        if has_body:
            upcoming += cases(version, n, True, max(1, each // RIGHT), number)
    chance.shuffle(upcoming)
    del upcoming[requests:]
    while upcoming:
        with tempfile.TemporaryDirectory() as directory, projects.two(Path(directory)) as here:
            for _ in range(OF_ONE_SITE):
                if not upcoming or one_request(here, upcoming.pop(), version, chance, found):
                    break


def one_request(here: projects.Projects, case: Any, version: str, chance: random.Random, found: Found) -> bool:
    """Send one request. True: from now on a project has what was another's, with all that is said of it."""
    caller = sender(case, chance)
    Filling(here, chance).fill(case)
    case.headers["X-Auth-Token"] = caller.token
    case.headers["OpenStack-API-Version"] = f"volume {version}"
    label = case.operation.label
    sent = f"{case.path_parameters} {case.query} {case.body!r}"
    before = here.owners(set(projects.UUID.findall(f"{case.path_parameters} {case.body!r}")))
    response = case.call(app=here.client.app)
    found.requests += 1
    found.statuses[label, response.status_code] += 1
    if response.status_code < 300:
        found.reached.add(label)
    for why in wrong(here, case, response, caller, sent, before):
        said = f"{caller.token}: {sent} → {response.status_code} {response.text[:800]}"
        found.failures.setdefault(f"{label}: {why}"[:300], said)
    copied = caller.role == "admin" and any(owner != caller.project for owner in before.values())
    path = case.path.partition("#")[0]
    crosses = path.endswith("/accept") or (copied and path.endswith(CROSSING))
    return bool(crosses and case.method == "POST" and response.status_code < 300)


def sender(case: Any, chance: random.Random) -> projects.Caller:
    """Any of them; what only administrators may do is mostly sent by one of those."""
    rule = case.operation.definition.raw.get("x-policy")
    may = policy.RULES.get(rule) != policy.ADMIN or chance.random() < GENERATED
    return chance.choice([one for one in projects.CALLERS if may or one.role == "admin"])


def wrong(
    here: projects.Projects, case: Any, response: Any, caller: projects.Caller, sent: str, before: dict[str, str]
) -> Iterator[str]:
    """What is wrong with an answer."""
    try:
        case.validate_response(response, checks=CHECKS)
        body = case.body if isinstance(case.body, dict) else None
        path = response.request.url.split("://", 1)[1].partition("/")[2].partition("#")[0].partition("?")[0]
        asked = case.headers["OpenStack-API-Version"]
        described.check(case.method, f"/{path}", asked, body, response.status_code, response.content)
    except (AssertionError, *FAILURES) as error:
        yield str(error)
    if caller.role == "admin" or case.path in ECHO:
        return
    text, accepted = response.text, case.path.endswith("/accept")  # what was offered comes with the name of the offer
    for secret in projects.strangers(caller):
        if secret in text and secret not in sent and not accepted:
            yield "somebody is shown what another project says"
    ids = set(projects.UUID.findall(text)) - set(projects.UUID.findall(sent))
    ids -= here.backed_up(caller.project)
    for project in here.owners(ids).values() if ids else ():
        if project != caller.project:
            yield "somebody is shown an id of another project"
    foreign = [id for id, project in before.items() if project != caller.project]
    if foreign and response.status_code < 400 and not accepted:
        yield "somebody has done something with what another project has"


FAILURES = (schemathesis.core.failures.FailureGroup, schemathesis.core.failures.Failure)


@dataclass
class Filling:
    """Puts what there is in the places of what was made up."""

    here: projects.Projects
    chance: random.Random

    def fill(self, case: Any) -> None:
        collection = case.path.split("/")[1]
        collection = "transfers" if "transfer" in collection else collection
        for name in case.path_parameters:
            kind = collection if name in ("id", "host", "alias") else "keys"
            case.path_parameters[name] = self.some(kind, case.path_parameters[name])
        for name in case.query:
            if name in NAMES:
                case.query[name] = self.some(NAMES[name], case.query[name])
            elif self.chance.random() < ODDITY:
                case.query[name] = self.chance.choice(ODD)
        if isinstance(case.body, dict):
            case.body = self.filled(case.body)
            self.name_the_key(case)
            if case.operation.label == "POST /volumes" and isinstance(new := case.body.get("volume"), dict):
                new.setdefault("size", 1)

    def name_the_key(self, case: Any) -> None:
        """Let the one key of the body be that of the path."""
        inner = case.body.get("meta", case.body)
        if "key" in case.path_parameters and isinstance(inner, dict) and len(inner) == 1 and self.chance.random() < 0.8:
            inner[case.path_parameters["key"]] = inner.pop(next(iter(inner)))

    def some(self, collection: str, otherwise: Any) -> Any:
        there = FIXED.get(collection) or self.here.ids.get(collection)
        if collection == "anything":
            there = [id for ids in self.here.ids.values() for id in ids]
        return self.chance.choice(there) if there and self.chance.random() > GENERATED else otherwise

    def filled(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self.filled(item) for item in value]
        if not isinstance(value, dict):
            return value
        return {key: self.value(key, inner) for key, inner in value.items()}

    def value(self, key: Any, inner: Any) -> Any:
        if isinstance(inner, str) and self.chance.random() < ODDITY:
            return self.chance.choice(ODD)
        if self.chance.random() < GENERATED:
            return inner
        if key in SIZES:
            return self.chance.randint(1, 3)
        if key in VALUES:
            return self.chance.choice(VALUES[key])
        if key in NOTHING or (key in SOURCES and self.chance.random() < MOSTLY):
            return None
        if key == "volume_types":
            return [self.some("types", "x")]
        if key == "ref":
            return {"source-name": self.some("bricks", "x")}
        if key in NAMES:
            return self.some(NAMES[key], inner)
        return self.filled(inner)


def run(requests: int, first: int, each: int, tell: Callable[[str], None] = lambda line: None) -> Found:
    """Rounds of `each` requests from the number `first` on, `requests` in all."""
    logging.disable(logging.CRITICAL)
    found = Found()
    try:
        for number in range(first, first + -(-requests // each)):
            known = set(found.failures)
            round_(number, each, found)
            for why in found.failures.keys() - known:  # now: who ends a long run wants to know what it has found
                tell(f"{why}\n    {found.failures[why]}")
            tell(f"round {number}: {found.requests} requests, {len(found.failures)} kinds of failures")
    finally:
        logging.disable(logging.NOTSET)
    return found


@click.command()
@click.option("--requests", default=20000, show_default=True, help="How many, in all.")
@click.option(
    "--first", default=0, show_default=True, help="The number of the first round; a round follows from its number."
)
@click.option("--each", default=2000, show_default=True, help="How many a round has.")
def main(requests: int, first: int, each: int) -> None:
    """Fuzz the Block Storage API from its own description, as every role of two projects."""
    found = run(requests, first, each, lambda line: click.echo(f"fuzz: {line}", err=True))
    by_status = collections.Counter[int]()
    for (_, status), times in found.statuses.items():
        by_status[status] += times
    click.echo(json.dumps({"requests": found.requests, "statuses": dict(sorted(by_status.items()))}))
    known = {label for label, _ in found.statuses}
    click.echo(f"{len(found.reached)} of {len(known)} operations succeeded; not: {sorted(known - found.reached)}")
    for why, request in found.failures.items():
        click.echo(f"\n{why}\n    {request}")
    sys.exit(bool(found.failures))


if __name__ == "__main__":
    main()
