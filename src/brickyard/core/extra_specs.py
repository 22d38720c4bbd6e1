"""The two small languages in which a request speaks about pools: extra specs of a type, and the `query` hint.

An extra spec is `key: value`. A key without a scope, or in the scope `capabilities:`, is compared with what the pool
reports; further colons walk into nested values. `RESKEY:availability_zones` lists zones, `provisioning:type` chooses
thick; every other scope belongs to somebody else and is ignored. The value is a plain word to be equal to, or begins
with an operator of the table OPERATORS.
"""

from __future__ import annotations

import functools
import json
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from brickyard.core import errors
from brickyard.core.placement import PoolView

Items = tuple[tuple[str, str | None], ...]

ZONES_KEY = "RESKEY:availability_zones"
PROVISIONING_KEY = "provisioning:type"

# Values that differ from pool to pool and from minute to minute. Specs about them are never remembered.
FIGURES = frozenset({
    "pool_name", "total_capacity_gb", "free_capacity_gb", "allocated_capacity_gb", "provisioned_capacity_gb",
    "total_volumes",
})  # fmt: skip

TRUE_WORDS = frozenset({"1", "t", "true", "on", "y", "yes"})


def _truth(value: Any) -> bool:
    return str(value).strip().lower() in TRUE_WORDS


# `=` means "at least", an accident of history that every published type relies on.
OPERATORS: dict[str, Callable[[Any, str], bool]] = {
    "=": lambda have, want: float(have) >= float(want),
    "==": lambda have, want: float(have) == float(want),
    "!=": lambda have, want: float(have) != float(want),
    ">=": lambda have, want: float(have) >= float(want),
    "<=": lambda have, want: float(have) <= float(want),
    "s==": operator.eq,
    "s!=": operator.ne,
    "s<": operator.lt,
    "s<=": operator.le,
    "s>": operator.gt,
    "s>=": operator.ge,
    "<in>": lambda have, want: want in have,
    "<is>": lambda have, want: _truth(have) is _truth(want),
}


def match(have: Any, spec: str | None) -> bool:
    """Whether one reported value satisfies one spec. What cannot be compared does not match."""
    if spec is None:
        return have is None
    words = spec.split()
    first = words[0] if words else ""
    if first != "<or>" and first not in OPERATORS:
        return bool(have == spec)
    if have is None or len(words) < 2:
        return False
    if first == "<or>":
        return have in words[1::2]
    try:
        return bool(OPERATORS[first](have, words[1]))
    except (ValueError, TypeError):
        return False


@dataclass(frozen=True, slots=True)
class Spec:
    """One extra spec that speaks about a capability."""

    key: str
    path: tuple[str, ...]
    want: str | None

    def met(self, reported: Mapping[str, Any]) -> bool:
        """A list satisfies a spec if any element does; a missing capability never does."""
        value: Any = reported
        for step in self.path:
            try:
                value = value[step]
            except (TypeError, KeyError):
                return False
        return any(match(one, self.want) for one in (value if isinstance(value, list) else [value]))


@dataclass(frozen=True, slots=True)
class Compiled:
    """The extra specs of a type, sorted by what they speak about."""

    lasting: tuple[Spec, ...]  # about capabilities that pools share and keep
    figures: tuple[Spec, ...]  # about FIGURES
    zones: frozenset[str]
    thick: bool


@functools.lru_cache(maxsize=1024)
def compiled(items: Items) -> Compiled:
    lasting: list[Spec] = []
    figures: list[Spec] = []
    zones: frozenset[str] = frozenset()
    thick = False
    for key, want in items:
        if key == ZONES_KEY:
            zones = frozenset(zone.strip() for zone in (want or "").split(",") if zone.strip())
        elif key == PROVISIONING_KEY:
            thick = want == "thick"
        steps = key.split(":")
        if len(steps) > 1 and steps[0] != "capabilities":
            continue
        path = tuple(steps[1:] if steps[0] == "capabilities" else steps)
        (figures if path and path[0] in FIGURES else lasting).append(Spec(key, path, want))
    return Compiled(tuple(lasting), tuple(figures), zones, thick)


def lasting_state(pool: PoolView) -> dict[str, Any]:
    """What a pool reports, without the figures. A driver's own word on thin and thick is kept."""
    return {
        "thin_provisioning_support": pool.thin,
        "thick_provisioning_support": not pool.thin,
        **{key: value for key, value in pool.capabilities.items() if key not in FIGURES},
        "volume_backend_name": pool.backend_name,
    }


def state(pool: PoolView) -> dict[str, Any]:
    """All that a pool reports, under the names of the wire."""
    return lasting_state(pool) | {
        "pool_name": pool.name.partition("#")[2],
        "total_capacity_gb": pool.total_gib,
        "free_capacity_gb": pool.free_gib,
        "allocated_capacity_gb": pool.claimed_gib,
        "provisioned_capacity_gb": pool.claimed_gib,
        "total_volumes": pool.volumes,
    }


# the `query` hint ------------------------------------------------------------


def _all_pairs(compare: Callable[[Any, Any], bool]) -> Callable[[list[Any]], bool]:
    """The first operand against each of the others; a lone operand is false."""
    return lambda args: len(args) > 1 and all(compare(args[0], other) for other in args[1:])


QUERY: dict[str, Callable[[list[Any]], Any]] = {
    "=": _all_pairs(operator.eq),
    "<": _all_pairs(operator.lt),
    ">": _all_pairs(operator.gt),
    "<=": _all_pairs(operator.le),
    ">=": _all_pairs(operator.ge),
    "in": lambda args: len(args) > 1 and args[0] in args[1:],
    "not": lambda args: [not arg for arg in args],
    "or": any,
    "and": all,
}
QUERY_DEPTH_MAX = 20


@functools.lru_cache(maxsize=256)
def parsed_query(text: str) -> Any:
    """The JSON of a query hint, checked; Invalid if it is not one."""
    try:
        query = json.loads(text)
    except (ValueError, RecursionError):
        raise errors.Invalid("The query hint is not JSON.", field="query") from None
    if query and not isinstance(query, list):
        raise errors.Invalid("The query hint must be a list: an operator and its operands.", field="query")
    _check(query, 0)
    return query


def _check(query: Any, depth: int) -> None:
    if not isinstance(query, list) or not query:
        return
    if depth > QUERY_DEPTH_MAX:
        raise errors.Invalid(f"The query hint is nested deeper than {QUERY_DEPTH_MAX} levels.", field="query")
    if not isinstance(query[0], str) or query[0] not in QUERY:
        raise errors.Invalid(f"The query hint knows {' '.join(QUERY)}, not {query[0]!r}.", field="query")
    for operand in query[1:]:
        _check(operand, depth + 1)


def query_holds(text: str, pool: PoolView) -> bool:
    """Whether a pool satisfies the hint. Operands that cannot be compared make it false."""
    reported = lasting_state(pool)
    known = state(pool) | {"host": pool.name, "backend_id": pool.name, "capabilities": reported}
    try:
        result = _evaluate(parsed_query(text), known)
    except (TypeError, AttributeError):
        return False
    return any(result) if isinstance(result, list) else bool(result)


def _evaluate(query: Any, known: Mapping[str, Any]) -> Any:
    if not query:
        return True
    operands = []
    for arg in query[1:]:
        if isinstance(arg, list):
            value: Any = _evaluate(arg, known)
        elif isinstance(arg, str):
            value = _looked_up(arg, known)
        else:
            value = arg
        if value is not None:  # what is unknown drops out, so a comparison with it is left with one operand
            operands.append(value)
    return QUERY[query[0]](operands)


def _looked_up(word: str, known: Mapping[str, Any]) -> Any:
    """A word, or for `$a.b` the value that the pool has there."""
    if not word.startswith("$"):
        return word or None
    value: Any = known
    for step in word[1:].split("."):
        value = value.get(step)
        if value is None:
            return None
    return value
