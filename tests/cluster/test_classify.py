"""What an answer of the API server means to us."""

import json

import pytest

from modelwright.cluster.classify import error_of, message_of
from modelwright.errors import Conflict, Forbidden, Rejected, Unavailable

RBAC = 'jobs.batch "x" is forbidden: User "u" cannot patch resource "jobs" in API group "batch" in the namespace "n"'
QUOTA = 'jobs.batch "x" is forbidden: exceeded quota: none, requested: count/jobs.batch=1, used: 0, limited: 0'
TERMINATING = 'jobs.batch "x" is forbidden: unable to create new content in namespace n because it is being terminated'


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (400, "bad", Rejected),
        (401, "Unauthorized", Unavailable),
        (403, RBAC, Forbidden),
        (403, QUOTA, Rejected),
        (403, TERMINATING, Rejected),
        (404, "not found", Rejected),
        (409, "the object has been modified", Conflict),
        (410, "too old", Conflict),
        (422, "is invalid", Rejected),
        (429, "too many requests", Unavailable),
        (500, "etcd", Unavailable),
        (503, "starting", Unavailable),
    ],
)
def test_statuses(status: int, message: str, kind: type[Exception]) -> None:
    error = error_of(status, message)
    assert type(error) is kind
    assert error.status == status


@pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), ("0.5", 0.5), ("-1", 0.0), ("soon", None), (None, None)])
def test_retry_after(header: str | None, seconds: float | None) -> None:
    assert error_of(429, "slow down", header).retry_after == seconds


def test_the_servers_words_are_taken_from_a_status_object() -> None:
    assert message_of(403, json.dumps({"kind": "Status", "message": "no"}).encode()) == "no"


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff\xfe", b"<html>no</html>", b'{"a": 1}'])
def test_anything_else_is_quoted(body: bytes) -> None:
    assert message_of(502, body).startswith("HTTP 502")
