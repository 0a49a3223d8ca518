"""Registries that hand out tokens, and what is never sent along."""

import base64
import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from modelwright.agent.store import open_store
from modelwright.contract.request import Store
from modelwright.errors import StoreError

if TYPE_CHECKING:
    from tests.agent.conftest import Web

USER = "Basic " + base64.b64encode(b"user:secret").decode()


def token_registry(web: "Web", *, needs_login: bool) -> None:
    """A registry that wants a token for each scope, and answers 401 to one that grants too little."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        length = int(handler.headers.get("Content-Length", 0))
        web.bodies.append(handler.rfile.read(length))
        if parts.path == "/token":
            known = handler.headers.get("Authorization") == USER or not needs_login
            scope = parse_qs(parts.query)["scope"][0]
            _say(handler, 200 if known else 401, json.dumps({"token": scope.rpartition(":")[2]}).encode())
            return
        wanted = "pull" if handler.command in ("GET", "HEAD") else "push"
        if handler.headers.get("Authorization") != f"Bearer {wanted}":
            challenge = f'Bearer realm="{web.url}/token",service="test",scope="repository:x:{wanted}"'
            _say(handler, 401, b"", **{"WWW-Authenticate": challenge})
        elif wanted == "pull":
            _say(handler, 404, b"")
        elif handler.command == "POST":
            _say(handler, 202, b"", Location="/v2/upload")
        else:
            _say(handler, 201, b"")

    web.fallback = answer


def _say(handler: BaseHTTPRequestHandler, status: int, data: bytes, **headers: str) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data)


@pytest.fixture
def where(web: "Web") -> Store:
    return Store(uri=f"oci://{web.netloc}/x", namespace="n", insecure=True)


def test_reading_and_then_writing_asks_for_a_wider_token(web: "Web", where: Store, secret: Callable[..., Path]) -> None:
    token_registry(web, needs_login=True)
    auths = {"auths": {web.netloc: {"username": "user", "password": "secret"}}}
    store = open_store(where, secret(dockerconfigjson=json.dumps(auths)))
    assert store.find("k") is None
    store.save_journal("k", b"journal")
    puts = [body for (method, _, _), body in zip(web.seen, web.bodies, strict=True) if method == "PUT"]
    assert b"journal" in puts


def test_a_public_registry_gives_a_token_to_anybody(web: "Web", where: Store) -> None:
    token_registry(web, needs_login=False)
    assert open_store(where).find("k") is None


def test_a_refused_login_is_told_after_one_try(web: "Web", where: Store, secret: Callable[..., Path]) -> None:
    token_registry(web, needs_login=True)
    auths = {"auths": {web.netloc: {"username": "user", "password": "wrong"}}}
    store = open_store(where, secret(dockerconfigjson=json.dumps(auths)))
    with pytest.raises(StoreError, match="refused the login"):
        store.find("k")
    assert len([path for _, path, _ in web.seen if path.startswith("/v2/")]) == 1


def test_a_login_for_another_registry_is_not_sent(web: "Web", where: Store, secret: Callable[..., Path]) -> None:
    token_registry(web, needs_login=True)
    auths = {"auths": {"elsewhere.example": {"username": "user", "password": "secret"}}}
    with pytest.raises(StoreError, match="refused the login"):
        open_store(where, secret(dockerconfigjson=json.dumps(auths))).find("k")
    assert all(headers.get("Authorization") != USER for _, _, headers in web.seen)
