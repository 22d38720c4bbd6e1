"""/v1/agents"""

from __future__ import annotations

from brickyard.api.request import Reply, Request
from brickyard.api.views import own as views
from brickyard.service import agents


def index(request: Request) -> Reply:
    """List the hosts whose node is an agent."""
    return Reply(200, {"agents": [views.agent(row) for row in agents.list_(request.site)]})


def enroll(request: Request) -> Reply:
    """Let a host have an agent: the answer has a token that gets its credentials, once."""
    token, until = agents.enroll(request.site, request.body["host"])
    return Reply(201, {"host": request.body["host"], "token": token, "expires_at": until})


def credentials(request: Request) -> Reply:
    """Exchange a token for the credentials of its host. The token is all that is needed, and good once."""
    return Reply(200, agents.credentials(request.site, request.body["token"]))


def dismiss(request: Request, host: str) -> Reply:
    """Take its account in the message broker from the agent of a host."""
    agents.dismiss(request.site, host)
    return Reply(204)
