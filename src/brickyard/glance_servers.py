"""Several servers of one image service, asked in turn: the next one when one does not answer; and the word of this
service for a caller whose token has expired since it was believed here."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any

from brickyard.core import errors

if TYPE_CHECKING:
    import httpx

AWAY = (502, 503, 504)  # what a proxy says for a server that is not there, or a server that shuts down
SAFE = ("GET", "HEAD", "DELETE")  # may be asked of the next one also when nobody knows how far the first one came


def in_turn(bases: Sequence[str], verify: Any, retries: int) -> httpx.BaseTransport:
    """A transport for requests to the first of the URLs `bases`. One that takes no connection is passed over; one
    that breaks off or says that it is away, too, where the request may be repeated. The last one's word counts."""
    import httpx  # which costs a start a quarter of a second

    class InTurn(httpx.BaseTransport):
        def __init__(self) -> None:
            self._inner = httpx.HTTPTransport(verify=verify, retries=retries if len(bases) == 1 else 0)

        def handle_request(self, request: httpx.Request) -> httpx.Response:
            path = str(request.url).removeprefix(bases[0].rstrip("/"))
            for base in bases[:-1]:
                try:
                    answer = self._inner.handle_request(_to(base, path, request))
                except (httpx.ConnectError, httpx.ConnectTimeout):
                    continue
                except httpx.TransportError:
                    if request.method not in SAFE:
                        raise
                    continue
                if answer.status_code not in AWAY or request.method not in SAFE:
                    return answer
                answer.close()
            return self._inner.handle_request(_to(bases[-1], path, request))

        def close(self) -> None:
            self._inner.close()

    def _to(base: str, path: str, request: httpx.Request) -> httpx.Request:
        url = httpx.URL(f"{base.rstrip('/')}{path}")
        if url == request.url:
            return request
        others = [(name, value) for name, value in request.headers.raw if name.lower() != b"host"]
        headers, more = [(b"Host", url.netloc), *others], request.extensions
        return httpx.Request(request.method, url, headers=headers, stream=request.stream, extensions=more)

    return InTurn()


def vouched(service_token: Callable[[], str | None]) -> httpx.Auth:
    """For requests with the token of a caller: one that is not believed is sent once more with a token of this service,
    by which also one counts that has expired under way, or that another service has handed on. Unauthorized when it is
    none the less not believed: it was taken back."""
    import httpx  # which costs a start a quarter of a second

    class Vouched(httpx.Auth):
        def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
            answer = yield request
            if answer.status_code == 401:
                request.headers["X-Service-Token"] = service_token() or ""
                answer = yield request
                if answer.status_code == 401:
                    raise errors.Unauthorized("The image service does not take this token any more: log in again.")

    return Vouched()
