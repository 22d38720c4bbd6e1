"""The image service of a cloud (Glance), asked for a caller with the caller's token, and for a flow with our own login.

A caller is asked for before anything begins: what the caller may not see is not there. What then takes long, longer
perhaps than that token is good, is done as the service's own user, which needs a role that may read and write the
images of every project. No token of a caller is kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from brickyard import glance_servers
from brickyard.core import errors, settings
from brickyard.login import Login

LOG = logging.getLogger(__name__)
CHUNK_BYTES = 1024 * 1024
PAUSE_S, PAUSE_MAX_S = 1.0, 30.0  # before an image is fetched or sent again
PAGE = 2  # of images with a name: one, or too many
# What every image has; all else are properties.
KNOWN = frozenset({
    "status", "name", "tags", "container_format", "created_at", "size", "disk_format", "updated_at", "visibility",
    "self", "min_disk", "protected", "id", "file", "checksum", "os_hash_algo", "os_hash_value", "os_hidden", "owner",
    "schema", "min_ram", "virtual_size", "locations", "direct_url", "stores", "members",
    "os_glance_importing_to_stores", "os_glance_failed_import", "os_glance_import_task",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Who:
    """Who asks: a token, and the catalog that came with it, as JSON."""

    token: str | None = field(repr=False)
    catalog: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Image:
    """What the image service says of an image; `size_bytes` of its data."""

    id: str
    name: str
    status: str
    disk_format: str
    container_format: str
    size_bytes: int
    virtual_size_bytes: int | None
    min_disk_gib: int
    min_ram_mib: int
    checksum: str | None
    hash_algorithm: str | None
    hash_value: str | None
    properties: Mapping[str, str]
    updated_at: str | None = None

    @property
    def metadata(self) -> dict[str, str]:
        """The facts that a volume made of it keeps."""
        facts = {
            "image_id": self.id,
            "image_name": self.name,
            "checksum": self.checksum or "",
            "container_format": self.container_format,
            "disk_format": self.disk_format,
            "min_disk": str(self.min_disk_gib),
            "min_ram": str(self.min_ram_mib),
            "size": str(self.size_bytes),
        }
        return {**self.properties, **facts}


class Glance:
    """`login` are the options of [keystone_authtoken] by which the service itself logs in."""

    def __init__(self, configured: settings.Glance, login: Mapping[str, Any]) -> None:
        self._settings, self._login = configured, Login(login)

    # as the caller --------------------------------------------------------------------------------------------------

    def find(self, who: Who, name_or_id: str) -> Image:
        """The image by id, or else by a name that only one has; NotFound, or Conflict for a name of several."""
        with self._client(who, vouch=True) as client:
            if _is_id(name_or_id):
                answer = _asked(client, "GET", f"v2/images/{name_or_id}")
                if answer.status_code == 200:
                    return _image(answer)
                _only(answer, 404, 403)
            answer = _asked(client, "GET", "v2/images", params={"name": f"in:{_quoted(name_or_id)}", "limit": PAGE})
            _only(answer, 200)
            found = answer.json()["images"]
        if len(found) > 1:
            raise errors.Conflict(f"Multiple matches found for '{name_or_id}', use an ID to be more specific.")
        if not found:
            raise errors.NotFound("Invalid image identifier or unable to access requested image.")
        return _read(found[0])

    def create(self, who: Who, values: Mapping[str, Any]) -> None:
        """Make an image without data, of the caller's project; Invalid says why the service refuses it."""
        with self._client(who, vouch=True) as client:
            answer = _asked(client, "POST", "v2/images", json=dict(values))
        if answer.status_code != 201:
            raise errors.Invalid(f"The image service refuses the image: {_said(answer)}", field="image_name")

    # as the service ---------------------------------------------------------------------------------------------------

    def show(self, id: str) -> Image | None:
        with self._own_client() as client:
            answer = _asked(client, "GET", f"v2/images/{id}")
        if answer.status_code == 404:
            return None
        _only(answer, 200)
        return _image(answer)

    def delete(self, id: str) -> None:
        """Delete an image that was made here; one that is not there is fine."""
        with self._own_client() as client:
            answer = _asked(client, "DELETE", f"v2/images/{id}")
            if answer.status_code == 403:  # protected, or not ours to delete
                self._protect(client, id, False)
                answer = _asked(client, "DELETE", f"v2/images/{id}")
        _only(answer, 204, 404)

    def store(self, id: str, path: Path, *, protected: bool) -> None:
        """Make a file the data of an image that was created before. Repeated, it finds what it did. What breaks off is
        sent again, as often as connections are tried, where the service takes it again."""
        self._repeating(lambda: self._store(id, path, protected))

    def _store(self, id: str, path: Path, protected: bool) -> None:
        with self._own_client() as client:
            answer = _asked(client, "GET", f"v2/images/{id}")
            _only(answer, 200)
            if (status := _image(answer).status) not in ("active", "queued"):
                raise errors.BrickError(f"The image service stopped while it took image {id}, which is {status} now.")
            if status == "queued":
                headers = {"Content-Type": "application/octet-stream", "Content-Length": str(path.stat().st_size)}
                answer = _asked(client, "PUT", f"v2/images/{id}/file", content=_pieces(path), headers=headers)
                if answer.status_code == 401:
                    _only(answer, 204)
                if answer.status_code != 204:
                    raise errors.BrickError(f"The image service does not take the data of image {id}: {_said(answer)}")
            if protected:
                self._protect(client, id, True)

    def fetch(self, image: Image, path: Path, max_bytes: int) -> None:
        """Write the data of an image to a new file, durably, and make sure that it is what the service says. What
        breaks off is fetched again, as often as connections are tried."""

        def fetch() -> None:
            path.unlink(missing_ok=True)
            self._fetch(image, path, max_bytes)

        self._repeating(fetch)

    def _fetch(self, image: Image, path: Path, max_bytes: int) -> None:
        if image.size_bytes > max_bytes:
            raise errors.Invalid(
                f"Image {image.id} has {image.size_bytes} bytes, and this service takes at most {max_bytes}.",
                field="imageRef",
            )
        checks = _checks(image)
        with self._own_client() as client, _told(), client.stream("GET", f"v2/images/{image.id}/file") as answer:
            if answer.status_code in (404, 410, 204):
                raise errors.NotFound(f"Image {image.id} is gone.")
            _only(answer, 200)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                left = image.size_bytes
                for piece in answer.iter_raw(CHUNK_BYTES):
                    left -= len(piece)
                    if left < 0:
                        break
                    for digest, _ in checks:
                        digest.update(piece)
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
        if left != 0:
            raise errors.UnsafeImage(
                f"Image {image.id} should have {image.size_bytes} bytes, and the image service sent "
                f"{'more' if left < 0 else image.size_bytes - left}; try again, or upload the image again."
            )
        if any(digest.hexdigest() != wanted for digest, wanted in checks):
            raise errors.UnsafeImage(
                f"The data of image {image.id} is not what was uploaded: its checksum differs; upload it again."
            )

    def _repeating(self, work: Callable[[], None]) -> None:
        """Do it again when the service has not answered, after a pause that grows."""
        for left in range(self._settings.retries, -1, -1):
            try:
                return work()
            except errors.ImageServiceUnavailable as error:
                if not left:
                    raise
                pause_s = min(PAUSE_S * 2 ** (self._settings.retries - left), PAUSE_MAX_S)
                LOG.warning("%s; it is tried again in %s s", error.message, pause_s)
                threading.Event().wait(pause_s)

    def _protect(self, client: Any, id: str, protected: bool) -> None:
        headers = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
        body = msgspec.json.encode([{"op": "replace", "path": "/protected", "value": protected}])
        _only(_asked(client, "PATCH", f"v2/images/{id}", content=body, headers=headers), 200, 404)

    # reaching it ------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _client(self, who: Who, refused: Callable[[], object] = lambda: None, *, vouch: bool = False) -> Iterator[Any]:
        """`refused` is called when the token is not believed: it has expired under way, or was revoked. `vouch`: then
        it is sent again with a token of this service, which makes up for the first."""
        import httpx  # which costs a start a quarter of a second

        bases = self._settings.servers or (self._of_catalog(who.catalog),)
        base = bases[0]
        headers = {"X-Auth-Token": who.token} if who.token else {}
        transport = glance_servers.in_turn(bases, self._trust(), self._settings.retries)
        timeout = self._settings.timeout_s
        hooks = {"response": [lambda answer: answer.status_code == 401 and refused()]}
        auth = glance_servers.vouched(self._own_token) if vouch else None
        with httpx.Client(
            base_url=f"{base.rstrip('/')}/", headers=headers, transport=transport, timeout=timeout, event_hooks=hooks,
            auth=auth,
        ) as made:  # fmt: skip
            yield made

    @contextlib.contextmanager
    def _own_client(self) -> Iterator[Any]:
        with _login_told():
            session = self._login.session()
            token = session.get_token()
            base = None
            if not self._settings.servers:
                kind = {"service_type": "image", "interface": self._settings.interface}
                base = session.get_endpoint(**kind, region_name=self._settings.region)
                if base is None:
                    raise errors.ImageServiceUnavailable(_nowhere(self._settings))
        catalog = msgspec.json.encode([_service(self._settings, base)]).decode() if base else None
        with self._client(Who(token, catalog), refused=session.invalidate) as client:
            yield client

    def _own_token(self) -> str | None:
        with _login_told():
            token: str | None = self._login.session().get_token()
        return token

    def _of_catalog(self, catalog: str | None) -> str:
        for service in msgspec.json.decode(catalog) if catalog else ():
            for endpoint in service.get("endpoints", ()) if service.get("type") == "image" else ():
                url = endpoint.get(f"{self._settings.interface}URL")
                if url and self._settings.region in (None, endpoint.get("region")):
                    return str(url).rstrip("/").removesuffix("/v2")
        raise errors.ImageServiceUnavailable(_nowhere(self._settings))

    def _trust(self) -> Any:
        if self._settings.insecure:
            return False
        if self._settings.ca_file is None:
            return True
        import ssl

        return ssl.create_default_context(cafile=self._settings.ca_file)


def _nowhere(configured: settings.Glance) -> str:
    return (
        f"The catalog has no image service with a {configured.interface} endpoint: add one, or set glance_api_servers."
    )


def _service(configured: settings.Glance, base: str) -> dict[str, Any]:
    endpoint = {f"{configured.interface}URL": base, "region": configured.region}
    return {"type": "image", "endpoints": [endpoint]}


@contextlib.contextmanager
def _login_told() -> Iterator[None]:
    """A login that fails is ImageServiceUnavailable."""
    from keystoneauth1 import exceptions

    try:
        yield
    except (exceptions.ClientException, OSError) as error:
        raise errors.ImageServiceUnavailable(
            f"Logging in for the image service fails: {error}; see [keystone_authtoken]."
        ) from error


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """An image service that does not answer, or stops in the middle, is ImageServiceUnavailable."""
    import httpx

    try:
        yield
    except httpx.HTTPError as error:
        raise errors.ImageServiceUnavailable(
            f"The image service does not answer: {type(error).__name__} {error}"
        ) from error


def _asked(client: Any, method: str, path: str, **more: Any) -> Any:
    with _told():
        return client.request(method, path, **more)


def _only(answer: Any, *statuses: int) -> None:
    if answer.status_code not in statuses:
        raise errors.ImageServiceUnavailable(
            f"The image service answers with status {answer.status_code}: {_said(answer)}"
        )


def _said(answer: Any) -> str:
    """The words of an answer, in short; Glance writes a page around them."""
    with contextlib.suppress(Exception):
        answer.read()
        text = answer.text
        if "<body>" in text:
            text = text.partition("</h1>")[2].replace("<br /><br />", " ").partition("</body>")[0]
        return " ".join(text.split())[:500]
    return "no more is said"


def _quoted(name: str) -> str:
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _is_id(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False


def _image(answer: Any) -> Image:
    try:
        return _read(answer.json())
    except (ValueError, KeyError, TypeError) as error:
        raise errors.ImageServiceUnavailable(f"The answer of the image service is not understood: {error}") from error


def _read(shown: Mapping[str, Any]) -> Image:
    return Image(
        id=shown["id"],
        name=shown.get("name") or "",
        status=shown["status"],
        disk_format=shown.get("disk_format") or "",
        container_format=shown.get("container_format") or "",
        size_bytes=int(shown.get("size") or 0),
        virtual_size_bytes=shown.get("virtual_size"),
        min_disk_gib=int(shown.get("min_disk") or 0),
        min_ram_mib=int(shown.get("min_ram") or 0),
        checksum=shown.get("checksum"),
        hash_algorithm=shown.get("os_hash_algo"),
        hash_value=shown.get("os_hash_value"),
        properties={name: str(value) for name, value in shown.items() if name not in KNOWN and value is not None},
        updated_at=shown.get("updated_at"),
    )


def _checks(image: Image) -> list[tuple[Any, str]]:
    """What the data must add up to: the strong hash where there is one that is known here, or else the older one."""
    if image.hash_algorithm and image.hash_algorithm in hashlib.algorithms_available and image.hash_value:
        return [(hashlib.new(image.hash_algorithm), image.hash_value)]
    return [(hashlib.md5(usedforsecurity=False), image.checksum)] if image.checksum else []


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(CHUNK_BYTES):
            yield piece
