"""The service's own login at Keystone, with which it asks other services of the cloud when no caller is there."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any


class Login:
    """By the options of [keystone_authtoken]; made when it is first needed, and used by any thread."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = options
        self._lock = threading.Lock()
        self._session: Any = None

    def session(self) -> Any:
        """A session of keystoneauth1, whose methods raise that library's exceptions."""
        from keystoneauth1 import loading, session

        with self._lock:
            if self._session is None:
                given = {name: value for name, value in self._options.items() if value is not None}
                loader: Any = loading.get_plugin_loader(given["auth_type"])
                known = {option.dest for option in loader.get_options()}
                auth = loader.load_from_options(**{name: value for name, value in given.items() if name in known})
                verify = not given.get("insecure") and (given.get("cafile") or True)
                self._session = session.Session(auth=auth, verify=verify)
            return self._session
