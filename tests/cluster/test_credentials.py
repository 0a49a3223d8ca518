"""Logging in: with a service account, with kubeconfigs as people have them, and with neither."""

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelwright.cluster.credentials import Credentials, LoginError, load


def kubeconfig(path: Path, user: dict[str, Any], **cluster: Any) -> Path:
    document = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u", "namespace": "team"}}],
        "clusters": [{"name": "k", "cluster": {"server": "https://api:6443", **cluster}}],
        "users": [{"name": "u", "user": user}],
    }
    path.write_text(yaml.safe_dump(document))
    return path


def from_file(path: Path) -> Credentials:
    return load({"KUBECONFIG": str(path)}, service_account=Path("/nonexistent"))


@pytest.fixture
def service_account(tmp_path: Path) -> Path:
    folder = tmp_path / "account"
    folder.mkdir()
    for name, text in {"token": "t0ken\n", "ca.crt": "PEM", "namespace": "home"}.items():
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("host", "server"), [("10.0.0.1", "https://10.0.0.1:443"), ("fd00::1", "https://[fd00::1]:443")]
)
def test_in_a_pod(service_account: Path, host: str, server: str) -> None:
    environ = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": "443"}
    found = load(environ, service_account)
    assert (found.server, found.ca, found.namespace) == (server, "PEM", "home")
    assert found.headers() == {"Authorization": "Bearer t0ken"}


def test_a_renewed_token_is_read_from_its_file(service_account: Path) -> None:
    found = load({"KUBERNETES_SERVICE_HOST": "h"}, service_account)
    (service_account / "token").write_text("renewed")
    assert found.renewed().token == "renewed"


def test_a_kubeconfig_with_inline_certificates(tmp_path: Path) -> None:
    encoded = base64.b64encode(b"PEM").decode()
    user = {"client-certificate-data": encoded, "client-key-data": encoded}
    found = from_file(kubeconfig(tmp_path / "c", user, **{"certificate-authority-data": encoded}))
    assert (found.server, found.ca, found.certificate, found.key) == ("https://api:6443", "PEM", "PEM", "PEM")
    assert found.headers() == {}
    assert found.namespace == "team"


def test_paths_are_relative_to_the_kubeconfig(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("PEM")
    (tmp_path / "token").write_text("abc")
    found = from_file(kubeconfig(tmp_path / "c", {"tokenFile": "token"}, **{"certificate-authority": "ca.pem"}))
    assert (found.ca, found.token) == ("PEM", "abc")


def test_several_files_are_merged_and_the_first_counts(tmp_path: Path) -> None:
    first = kubeconfig(tmp_path / "1", {"token": "first"})
    second = kubeconfig(tmp_path / "2", {"token": "second"})
    assert load({"KUBECONFIG": f"{first}:{second}:/nonexistent"}, Path("/nonexistent")).token == "first"


def test_basic_authentication(tmp_path: Path) -> None:
    found = from_file(kubeconfig(tmp_path / "c", {"username": "a", "password": "b"}))
    assert found.headers() == {"Authorization": "Basic YTpi"}


def test_an_exec_plugin_is_run_by_the_official_client(tmp_path: Path) -> None:
    answer = '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"from-plugin"}}'
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "echo",
        "args": [answer],
        "interactiveMode": "Never",
    }
    assert from_file(kubeconfig(tmp_path / "c", {"exec": plugin})).token == "from-plugin"


def test_no_credentials_say_what_to_do() -> None:
    with pytest.raises(LoginError, match="KUBECONFIG"):
        load({"KUBECONFIG": "/nonexistent"}, Path("/nonexistent"))


@pytest.mark.parametrize("text", ["", "{}", "a: [", "current-context: c\n"])
def test_a_damaged_kubeconfig_is_a_login_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "c").write_text(text)
    with pytest.raises(LoginError):
        from_file(tmp_path / "c")


def test_no_secret_is_shown() -> None:
    assert "hidden" not in repr(Credentials("https://api", token="hidden", key="hidden"))
