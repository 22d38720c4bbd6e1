"""Static tokens, made and revoked by whoever may write the database: the administrator of the host."""

from __future__ import annotations

import datetime
import re
import secrets
from collections.abc import Sequence

from brickyard.core import clock, errors
from brickyard.db import tokens
from brickyard.db.database import Database, Row

ROLES = ("admin", "member", "reader")
UNITS_S = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}")  # users and projects: they appear in URLs and in files on disk
PREFIX_MIN = 8  # characters of a hash that are enough to say which token is meant


def create(
    db: Database,
    *,
    user: str,
    project: str,
    roles: Sequence[str],
    expires: str | None = None,
    description: str | None = None,
) -> str:
    """A new token, which nobody can read again: the database keeps its hash."""
    for name, value in (("user", user), ("project", project)):
        if not ID.fullmatch(value):
            raise errors.Invalid(f"{name} is {value!r}; allowed: letters, digits and _.@-, at most 64", field=name)
    for role in roles:
        if role not in ROLES:
            raise errors.Invalid(f"role is {role!r}; allowed: {', '.join(ROLES)}", field="role")
    token = secrets.token_hex(32)  # it is typed as an argument, which must not begin with a dash
    with db.begin() as tx:
        tokens.insert(
            tx,
            token,
            user_id=user,
            project_id=project,
            roles=list(dict.fromkeys(roles)),
            description=description,
            expires_at=expiry(expires) if expires else None,
        )
    return token


def expiry(text: str) -> str:
    """`30d`, `12h`, `15m`, `2w` from now, or a date and time in UTC, as the database writes it."""
    if match := re.fullmatch(r"([1-9][0-9]{0,5})([mhdw])", text):
        return clock.stamp(int(match[1]) * UNITS_S[match[2]])
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError as error:
        raise errors.Invalid(
            f"expires is {text!r}; allowed: 15m, 12h, 30d, 2w, or a date such as 2027-01-31", field="expires"
        ) from error
    if moment.tzinfo is not None:
        moment = moment.astimezone(datetime.UTC).replace(tzinfo=None)
    if moment <= clock.now():
        raise errors.Invalid(f"expires is {text!r}, which is over already", field="expires")
    return moment.isoformat(timespec="microseconds")


def list_(db: Database) -> list[Row]:
    with db.read() as tx:
        return tokens.list_(tx)


def revoke(db: Database, hash: str) -> None:
    """Remove the one token whose hash begins with `hash`; a beginning that fits more than one removes none."""
    if not re.fullmatch(rf"[0-9a-f]{{{PREFIX_MIN},64}}", hash):
        raise errors.Invalid(f"give at least {PREFIX_MIN} characters of the hash; `brickyard token list` shows it")
    with db.begin() as tx:
        fitting = [row.hash for row in tokens.list_(tx) if row.hash.startswith(hash)]
        if not fitting:
            raise errors.NotFound(f"No token has a hash that begins with {hash}; `brickyard token list` shows them.")
        if len(fitting) > 1:
            raise errors.Invalid(f"{len(fitting)} tokens have a hash that begins with {hash}: give more of it")
        tokens.delete(tx, fitting[0])
