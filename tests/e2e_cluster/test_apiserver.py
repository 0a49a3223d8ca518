"""The API server for tests is a real one, and leaves nothing behind."""

import json

import pytest

from e2e.cluster.apiserver import LocalApiServer
from e2e.cluster.shell import ClusterError

pytestmark = pytest.mark.apiserver


def test_it_serves_audits_survives_an_outage_and_vanishes() -> None:
    with LocalApiServer() as server:
        directory = server.directory
        server.kubectl("create", "configmap", "kept", "--from-literal=a=b")
        with pytest.raises(ClusterError, match="cannot list"):
            server.kubectl("get", "secrets", "--as=nobody")
        server.stop_apiserver()
        with pytest.raises(ClusterError, match="refused"):
            server.kubectl("get", "configmaps")
        server.start_apiserver()
        assert "kept" in server.kubectl("get", "configmaps")
        verbs = {json.loads(line)["verb"] for line in server.audit_log.read_text().splitlines()}
        assert {"create", "list"} <= verbs
    assert not directory.exists()


def test_controllers_make_pods_and_collect_garbage() -> None:
    with LocalApiServer(controllers=True) as server:
        server.kubectl("create", "deployment", "web", "--image=web")
        server.kubectl("wait", "--for=create", "replicaset", "--selector=app=web", "--timeout=20s")
        server.kubectl("delete", "deployment", "web", "--cascade=foreground", "--timeout=20s")
        assert server.kubectl("get", "replicasets", "--output=name") == ""
