"""Browsers and proxies: which origins may call, and whose word counts for the links of an answer."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import falcon.testing
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
import world
from brickyard.core.settings import Cors

DASHBOARD = "https://dashboard.example:8443"
CORS = Cors(
    allowed_origins=(DASHBOARD,),
    expose_headers=("X-OpenStack-Request-ID",),
    allow_methods=("GET", "POST"),
    allow_headers=("X-Auth-Token", "OpenStack-API-Version"),
    max_age_s=60,
)


def client(tmp_path: Path, **settings: Any) -> Any:
    return world.running(tmp_path, {"memory": "memory"}, auth_strategy="token", **settings)


@pytest.fixture
def browsed(tmp_path: Path) -> Iterator[falcon.testing.TestClient]:
    with client(tmp_path, cors=CORS) as (_, made):
        yield made


def ask(made: falcon.testing.TestClient, method: str, path: str = "/v3/volumes", **headers: str) -> Any:
    return made.simulate_request(
        method, path, headers={name.replace("_", "-"): value for name, value in headers.items()}
    )


def cors(result: Any) -> dict[str, str]:
    prefix = "access-control-"
    return {k.lower().removeprefix(prefix): v for k, v in result.headers.items() if k.lower().startswith(prefix)}


def test_a_browser_asks_before_and_is_told_what_it_may(browsed: Any) -> None:
    asked = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "content-type, x-auth-token"}
    answer = ask(browsed, "OPTIONS", Origin=DASHBOARD, **asked)
    assert answer.status_code == 200  # without a token, which a browser does not send with this
    assert cors(answer) == {
        "allow-origin": DASHBOARD,
        "allow-credentials": "true",
        "allow-methods": "GET, POST",
        "allow-headers": "X-Auth-Token, OpenStack-API-Version",
        "max-age": "60",
    }
    for wrong in ({"Origin": "https://evil.example"}, {"Origin": DASHBOARD, "Access_Control_Request_Method": "DELETE"}):
        assert cors(ask(browsed, "OPTIONS", **{**asked, **wrong})) == {}
    other = {**asked, "Access_Control_Request_Headers": "x-other"}
    assert cors(ask(browsed, "OPTIONS", Origin=DASHBOARD, **other)) == {}


def test_an_answer_may_be_read_by_pages_of_its_origin_even_when_it_is_an_error(browsed: Any) -> None:
    told = {"allow-origin": DASHBOARD, "allow-credentials": "true", "expose-headers": "X-OpenStack-Request-ID"}
    refused = ask(browsed, "GET", Origin=DASHBOARD)
    assert (refused.status_code, cors(refused)) == (401, told)
    assert "Origin" in refused.headers["vary"]
    assert cors(ask(browsed, "GET", "/", Origin=DASHBOARD)) == told
    assert cors(ask(browsed, "GET", Origin="https://evil.example")) == {}
    assert cors(ask(browsed, "GET")) == {}


def test_a_star_allows_all_pages_without_what_the_browser_knows_of_the_user(tmp_path: Path) -> None:
    with client(tmp_path, cors=Cors(allowed_origins=("*",))) as (_, made):
        assert cors(ask(made, "GET", "/", Origin="https://any.example")) == {"allow-origin": "*"}


def test_unless_it_is_configured_no_origin_is_allowed_and_no_proxy_believed(tmp_path: Path) -> None:
    with client(tmp_path) as (_, made):
        answer = ask(made, "GET", "/", Origin=DASHBOARD, X_Forwarded_Proto="https", X_Forwarded_Host="evil.example")
        assert cors(answer) == {}
        assert "evil.example" not in answer.text


@pytest.mark.parametrize(
    ("headers", "root"),
    [
        ({}, "http://falconframework.org"),
        ({"X_Forwarded_Proto": "https", "X_Forwarded_Host": "storage.example"}, "https://storage.example"),
        ({"X_Forwarded_Host": "first.example, second.example"}, "http://first.example"),
        ({"X_Forwarded_Host": "s.example", "X_Forwarded_Port": "8443"}, "http://s.example:8443"),
        (
            {"X_Forwarded_Proto": "https", "X_Forwarded_Host": "s.example", "X_Forwarded_Port": "443"},
            "https://s.example",
        ),
        ({"X_Forwarded_Host": "s.example", "X_Forwarded_Prefix": "/volume/"}, "http://s.example/volume"),
        (
            {
                "Forwarded": 'for=192.0.2.1;proto=https;host="s.example:1", for=10.0.0.1',
                "X_Forwarded_Host": "x.example",
            },
            "https://s.example:1",
        ),
        ({"X_Forwarded_Host": "a b", "X_Forwarded_Proto": "gopher", "X_Forwarded_Prefix": "/.?"}, None),
    ],
)
def test_links_follow_what_a_proxy_says_where_it_is_believed(
    tmp_path: Path, headers: dict[str, str], root: str | None
) -> None:
    with client(tmp_path, proxy_headers=True) as (_, made):
        links = ask(made, "GET", "/", **headers).json["versions"][0]["links"]
        assert f"{root or 'http://falconframework.org'}/v3/" in [link["href"] for link in links]
