"""An image service that does with each request what it is told, to see what becomes of one that lies or dies."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from http import server
from typing import Any


class Fake:
    """It does with each request what `does` says; `seen` are method and path of each."""

    def __init__(self) -> None:
        self.does: Callable[[server.BaseHTTPRequestHandler], None]
        self.seen: list[tuple[str, str]] = []
        fake = self

        class Handler(server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                fake.seen.append((self.command, self.path))
                fake.does(self)

            do_PUT = do_POST = do_DELETE = do_GET

            def log_message(self, *_: Any) -> None: ...

        self.server = server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def sends(content: bytes, said: int | None = None, status: int = 200) -> Callable[[Any], None]:
    """Send `content`, and say before that it is `said` bytes; None: until the connection ends."""

    def does(handler: Any) -> None:
        handler.send_response(status)
        if said is not None:
            handler.send_header("Content-Length", str(said))
        handler.end_headers()
        handler.wfile.write(content)

    return does


@functools.cache
def gone() -> Fake:
    """One for all who need no more of it than that nothing is there."""
    made = Fake()
    made.does = sends(b"", 0, 404)
    return made
