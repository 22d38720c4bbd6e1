"""Follow a flow: each step is told when it is done, with the seconds it took; on a terminal a bar shows how far it is.

The log comes as server-sent events. Where those break off (a proxy, too many watchers) the flow is asked for again and
again instead, from the entry that was told last.
"""

from __future__ import annotations

import datetime
import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
from rich import markup

from brickyard.cli import bars, session, tables

ASK_AGAIN_S = 0.5
SILENCE_S = 20.0  # the service gives a sign of life more often
OVER = ("done", "failed")

Entry = dict[str, Any]


def _hosts(data: Entry) -> str:
    return ", ".join(data.get("candidates") or [held["host"] for held in data.get("reserved", ())])


def _reserved(data: Entry) -> str:
    return ", ".join(held["host"] for held in data.get("reserved", ()))


def _pools(data: Entry) -> str:
    names = dict.fromkeys(pool["name"] for pool in data.get("pools", {}).values())
    return ", ".join(names) or str(data.get("host", ""))


# flow and step → the lines that are told when it is done: a heading, and what follows it
LINES: dict[tuple[str, str], tuple[tuple[str, Callable[[Entry], str]], ...]] = {
    ("boot_instance", "reserve"): (("candidates", _hosts), ("reserved on", _reserved)),
    ("boot_instance", "volumes"): (("volumes created on", _pools),),
    ("boot_instance", "keep"): (("reservation kept", lambda data: ""),),
    ("boot_instance", "boot"): (("booted", lambda data: ""),),
    ("boot_instance", "show"): (),
    ("create_volume", "place"): (("placed on", lambda data: str(data.get("pool", ""))),),
}
DOING = {
    "volumes": "creating volumes", "boot": "booting", "brick": "making the brick", "grow": "growing the brick",
    "snapshot": "keeping the content", "revert": "reverting", "wipe": "wiping", "delete": "deleting",
    "destroy": "ending the guest", "off": "shutting down", "drain": "moving the data away",
    "settle": "ending what waits for the host", "look": "looking at what the host has",
    "empty": "moving volumes to other hosts",
}  # fmt: skip


class Follower:
    """Tells the entries of one flow as they come, unless it is `quiet`: then only what is waited for is shown."""

    def __init__(self, talk: session.Session, id: str, *, quiet: bool = False) -> None:
        self.talk, self.id, self.quiet = talk, id, quiet
        self.screen = tables.out() if talk.form == "table" else tables.out(sys.stderr)
        self.name = ""
        self.attempt, self.seq, self.before, self.unwinding = 1, -1, "", False

    def follow(self) -> Entry:
        """The flow, once it is over."""
        flow = self.talk.get(f"/v1/flows/{self.id}")
        self.name, self.before = flow["name"], flow["created_at"]
        try:
            with bars.Waiting(self.screen, "waiting for a conductor") as waiting:
                for event, data in self.events():
                    if event == "flow":
                        return data
                    if event == "progress":
                        waiting.moved(self._doing(data["step"]), data)
                    else:
                        self._note(data, waiting)
        except KeyboardInterrupt:
            raise session.Refused(f"it goes on without you; see: brickyard flow watch {self.id}") from None
        raise AssertionError("events end with the flow")

    def _note(self, entry: Entry, waiting: bars.Waiting) -> None:
        self.unwinding = entry["event"] in ("failed", "undone")
        waiting.says("undoing" if self.unwinding else self._doing(entry["step"]))
        if not self.quiet:
            self.tell(entry)
        self.seq, self.before = entry["seq"], entry["at"]

    def _doing(self, step: str) -> str:
        return f"undoing {step}" if self.unwinding else DOING.get(step, step)

    def tell(self, entry: Entry) -> None:
        """Print what an entry of the log says, if it says anything."""
        step: str = entry["step"]
        event, data = entry["event"], entry["data"] or {}
        took_s = (_time(entry["at"]) - _time(self.before)).total_seconds()
        if entry["attempt"] != self.attempt:
            self.attempt = entry["attempt"]
            self.screen.print(f"[yellow]attempt {self.attempt}[/]")
        if event == "started":
            return
        if event == "done":
            self._done(step, data, took_s)
        elif event == "failed":
            # Without a host the flow ends, and its error says the same again.
            text = "" if data.get("type") == "NoValidHost" else str(data.get("message"))
            self._line("red", "✗", DOING.get(step, step), text, took_s)
        else:
            self._line("yellow", "↺", f"{step} undone", "", took_s)

    def _done(self, step: str, data: Entry, took_s: float) -> None:
        for failure in data.get("failures", ()):
            self._line("yellow", "!", f"{failure['host']} failed", failure["message"], None)
        lines = LINES.get((self.name, step), ((step, lambda data: ""),))
        for number, (heading, rest) in enumerate(lines):
            self._line("green", "✓", heading, str(rest(data) or ""), took_s if number == len(lines) - 1 else None)

    def _line(self, colour: str, sign: str, heading: str, rest: str, took_s: float | None) -> None:
        took = f"{took_s:7.2f} s" if took_s is not None else " " * 9
        text = f"[dim]{took}[/]  [{colour}]{sign}[/] {markup.escape(f'{heading:<18} {rest}'.rstrip())}"
        self.screen.print(text, soft_wrap=True)

    def events(self) -> Iterator[tuple[str, Entry]]:
        try:
            yield from self._streamed()
            return
        except (httpx.HTTPError, session.Refused):
            pass  # asked for again and again from here; a service that is gone is told there
        while True:
            flow = self.talk.get(f"/v1/flows/{self.id}")
            for entry in flow["log"]:
                if entry["seq"] > self.seq:
                    yield "step", entry
            if flow["progress"]:
                yield "progress", flow["progress"]
            if flow["status"] in OVER:
                yield "flow", flow
                return
            time.sleep(ASK_AGAIN_S)

    def _streamed(self) -> Iterator[tuple[str, Entry]]:
        headers = {"Last-Event-ID": str(self.seq)} if self.seq >= 0 else {}
        timeout = httpx.Timeout(session.CONNECT_S, read=SILENCE_S)
        with self.talk.http.stream("GET", f"/v1/flows/{self.id}/events", headers=headers, timeout=timeout) as answer:
            if answer.status_code != 200:
                answer.read()
            self.talk.check(answer)
            event = ""
            for line in answer.iter_lines():
                field, _, value = line.partition(": ")
                if field == "event":
                    event = value
                elif field == "data":
                    yield event, json.loads(value)
                    if event == "flow":
                        return
        raise httpx.RemoteProtocolError("the events ended before the flow")


def quietly(talk: session.Session, id: str) -> Entry:
    """The flow once it is over, without a word about its steps."""
    return Follower(talk, id, quiet=True).follow()


def follow(talk: session.Session, id: str) -> Entry:
    """Follow a flow to its end; Refused, with what refused it, if it failed."""
    flow = Follower(talk, id).follow()
    if flow["status"] != "done":
        raise session.Refused(flow["error"] or f"flow {id} failed.", flow["refusals"])
    return flow


def _time(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text)
