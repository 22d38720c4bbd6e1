"""The verbs of a node as messages: JSON, made and read by the types that `verbs.py` says, and by nothing else.

An agent and a conductor may be of different releases. A field that one of them does not know is ignored, one that it
misses has its default, and a parameter that has its default is not sent at all; so whatever is added to a verb later is
no matter until it is used. What cannot be understood is refused in words: an unknown verb, a parameter that would
change what is done, a protocol that is too new or too old.
"""

from __future__ import annotations

import inspect
import logging
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from brickyard.core import errors
from brickyard.nodes import verbs

LOG = logging.getLogger(__name__)
PROTOCOL = 1  # one more when an older side would misunderstand what is said
OLDEST = 1  # what is still understood here


class Ask(msgspec.Struct, omit_defaults=True):
    """Conductor → agent: do this. The same `id` again is the same call, and is never done twice at a time."""

    id: str
    verb: str
    asker: str  # the routing key of the answers
    values: dict[str, Any] = {}
    trace: dict[str, str] = {}  # on whose behalf, for the agent's log, and the traceparent for its spans
    flow: str = ""  # whose step it is, if any,
    epoch: int = 0  # and the claim of that flow under which it is asked; see fences.py
    protocol: int = 1
    oldest: int = 1  # the protocol that the other side must know at least


class Fault(msgspec.Struct, omit_defaults=True):
    type: str
    message: str
    facts: dict[str, Any] = {}


class Word(msgspec.Struct, omit_defaults=True):
    """Agent → the conductor that asked: `working`, again and again, with how far it is, and in the end `done` or
    `failed`."""

    id: str
    state: str  # working | done | failed
    done_bytes: int = 0
    total_bytes: int = 0
    result: Any = None
    fault: Fault | None = None
    protocol: int = 1


class Notice(msgspec.Struct, omit_defaults=True):
    """Agent → whichever conductor takes it: a report, or without one only that it is there."""

    report: verbs.Report | None = None
    protocol: int = 1


# verbs -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Verb:
    name: str
    signature: inspect.Signature
    types: Mapping[str, Any]  # parameter → its type
    result: Any
    tells: bool  # it has progress, and may take long


def _verb(name: str, function: Any) -> Verb:
    hints = typing.get_type_hints(function)
    result, tells = hints.pop("return"), hints.pop("progress", None) is not None
    return Verb(name, inspect.signature(function), hints, result, tells)


VERBS: Mapping[str, Verb] = {
    name: _verb(name, function)
    for name, function in vars(verbs.Node).items()
    if not name.startswith("_") and inspect.isfunction(function)
}


def packed(verb: Verb, args: Sequence[Any], named: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a call, without `progress` and without what has its default."""
    bound = verb.signature.bind(None, *args, **named)
    parameters = verb.signature.parameters
    return {
        name: plain(value)
        for name, value in bound.arguments.items()
        if name in verb.types and value != parameters[name].default
    }


def unpacked(ask: Ask, host: str) -> tuple[Verb, dict[str, Any]]:
    """The verb and the values of a call, by the types of its parameters. Unavailable, in words, for what cannot be
    understood; Invalid for a value of the wrong type."""
    if ask.oldest > PROTOCOL or ask.protocol < OLDEST:
        raise errors.Unavailable(
            f"The agent of host {host} speaks protocol {OLDEST} to {PROTOCOL}, and was asked in {ask.protocol}: "
            "upgrade whichever of the two is older."
        )
    verb = VERBS.get(ask.verb)
    if verb is None:
        raise errors.Unavailable(f"The agent of host {host} does not know the verb {ask.verb}: upgrade it.")
    if unknown := sorted(set(ask.values) - set(verb.types)):
        raise errors.Unavailable(
            f"The agent of host {host} does not know {', '.join(unknown)} of the verb {verb.name}: upgrade it."
        )
    needed = {name for name in verb.types if verb.signature.parameters[name].default is inspect.Parameter.empty}
    if missing := sorted(needed - set(ask.values)):
        raise errors.Invalid(f"The verb {verb.name} needs {', '.join(missing)}.", field=missing[0])
    values = {}
    for name, value in ask.values.items():
        try:
            values[name] = msgspec.convert(value, verb.types[name])
        except msgspec.ValidationError as error:
            raise errors.Invalid(f"{name} of the verb {verb.name}: {error}", field=name) from error
    return verb, values


def plain(value: Any) -> Any:
    """A value of a verb as what JSON has."""
    return msgspec.to_builtins(value)


def result(verb: Verb, word: Word, host: str) -> Any:
    """What a verb returned; Unavailable when it is nothing that this verb returns."""
    try:
        return msgspec.convert(word.result, verb.result)
    except msgspec.ValidationError as error:
        raise errors.Unavailable(
            f"The answer of host {host} to {verb.name} is not understood ({error}): upgrade this service."
        ) from error


# errors ----------------------------------------------------------------------------------------------------------


def fault(error: Exception) -> Fault:
    """An error as its type, its message and its facts; one that is not ours as what it says."""
    if not isinstance(error, errors.BrickyardError):
        return Fault("BrickyardError", f"{type(error).__name__}: {error}")
    facts = dict(error.facts)
    if isinstance(error, errors.Invalid) and error.field:
        facts["field"] = error.field
    return Fault(type(error).__name__, error.message, msgspec.to_builtins(facts, enc_hook=str))


def raised(word: Word) -> errors.BrickyardError:
    told = word.fault or Fault("BrickyardError", "")
    return errors.revived(told.type, told.message, told.facts)


# messages --------------------------------------------------------------------------------------------------------

encode = msgspec.json.Encoder().encode
Message = TypeVar("Message", Ask, Word, Notice)


def decoded(kind: type[Message], body: bytes) -> Message | None:
    """None, and a line in the log, for what is no such message."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        LOG.warning("a message is not understood and is left out: %s", error)
        return None
