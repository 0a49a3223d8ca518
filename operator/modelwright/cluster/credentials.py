"""Who we are to the API server: the pod's service account, else a kubeconfig.

Both are read here, so that logging in costs no client library; only a kubeconfig with an exec plugin or an
auth provider loads the official client, which runs them. Everything is read again on a 401, and a token file
every minute, because the kubelet renews it in place.
"""

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from modelwright.errors import ModelwrightError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_PLUGINS = ("exec", "auth-provider")


class LoginError(ModelwrightError):
    """There are no usable credentials."""


@dataclass(frozen=True)
class Credentials:
    """A server and how to be known to it. Certificates are PEM texts."""

    server: str
    ca: str = ""
    insecure: bool = False
    certificate: str = ""
    key: str = ""
    token: str = ""
    token_file: Path | None = None
    username: str = ""
    password: str = ""
    namespace: str = "default"

    def __repr__(self) -> str:
        return f"Credentials({self.server})"

    def headers(self) -> dict[str, str]:
        """The Authorization header, if there is one."""
        if self.token:
            return {"Authorization": f"Bearer {self.token}"}
        if self.username:
            pair = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
            return {"Authorization": f"Basic {pair}"}
        return {}

    def renewed(self) -> "Credentials":
        """The same with the token that is in the file now."""
        return replace(self, token=_text(self.token_file)) if self.token_file else self


def load(environ: Mapping[str, str] = os.environ, service_account: Path = SERVICE_ACCOUNT) -> Credentials:
    """The pod's service account, else the kubeconfig that KUBECONFIG or the home directory names."""
    try:
        if "KUBERNETES_SERVICE_HOST" in environ and (service_account / "token").exists():
            return _in_cluster(environ, service_account)
        return _from_kubeconfig(_kubeconfig_files(environ))
    except (OSError, KeyError, TypeError, ValueError, yaml.YAMLError) as error:
        raise LoginError(f"credentials could not be read: {error!r}") from error


def _in_cluster(environ: Mapping[str, str], folder: Path) -> Credentials:
    host, port = environ["KUBERNETES_SERVICE_HOST"], environ.get("KUBERNETES_SERVICE_PORT", "443")
    host = f"[{host}]" if ":" in host else host
    return Credentials(
        server=f"https://{host}:{port}",
        ca=_text(folder / "ca.crt"),
        token=_text(folder / "token"),
        token_file=folder / "token",
        namespace=_text(folder / "namespace"),
    )


def _kubeconfig_files(environ: Mapping[str, str]) -> list[Path]:
    named = [Path(path) for path in environ.get("KUBECONFIG", "").split(os.pathsep) if path]
    files = [path.expanduser() for path in named or [Path("~/.kube/config")]]
    found = [path for path in files if path.exists()]
    if not found:
        raise LoginError("neither a service account nor a kubeconfig was found; set KUBECONFIG")
    return found


def _from_kubeconfig(files: list[Path]) -> Credentials:
    """The current context. Of entries with the same name the first file's counts, as for kubectl."""
    documents: list[tuple[Any, Path]] = [
        (yaml.safe_load(path.read_text()), path.parent) for path in files if path.read_text().strip()
    ]
    current: str | None = next((doc["current-context"] for doc, _ in documents if doc.get("current-context")), None)
    if not current:
        raise LoginError("the kubeconfig names no current context")
    context, _ = _entry(documents, "contexts", "context", current)
    cluster, cluster_folder = _entry(documents, "clusters", "cluster", context["cluster"])
    user, user_folder = _entry(documents, "users", "user", context["user"])
    if any(user.get(plugin) for plugin in _PLUGINS):
        return _from_official_client(files, context.get("namespace", "default"))
    token_file = user_folder / user["tokenFile"] if user.get("tokenFile") else None
    return Credentials(
        server=cluster["server"],
        ca=_pem(cluster, "certificate-authority", cluster_folder),
        insecure=bool(cluster.get("insecure-skip-tls-verify")),
        certificate=_pem(user, "client-certificate", user_folder),
        key=_pem(user, "client-key", user_folder),
        token=_text(token_file) if token_file else user.get("token", ""),
        token_file=token_file,
        username=user.get("username", ""),
        password=user.get("password", ""),
        namespace=context.get("namespace", "default"),
    )


def _entry(documents: list[tuple[Any, Path]], section: str, field: str, name: str) -> tuple[dict[str, Any], Path]:
    for document, folder in documents:
        items: list[dict[str, Any]] = document.get(section) or []
        for item in items:
            if item["name"] == name:
                return item[field], folder
    raise LoginError(f"the kubeconfig has no {field} {name!r}")


def _pem(entry: Mapping[str, Any], field: str, folder: Path) -> str:
    if data := entry.get(f"{field}-data"):
        return base64.b64decode(data).decode()
    return _text(folder / entry[field]) if entry.get(field) else ""


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip()


def _from_official_client(files: list[Path], namespace: str) -> Credentials:
    # Here and not above: it is needed by few and would cost everybody memory.
    from kubernetes import client, config  # noqa: PLC0415

    settings: Any = client.Configuration()
    load: Any = config.load_kube_config  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    load(os.pathsep.join(map(str, files)), client_configuration=settings)
    header: str = settings.get_api_key_with_prefix("BearerToken") or settings.get_api_key_with_prefix("authorization")
    return Credentials(
        server=settings.host,
        ca=_text(Path(settings.ssl_ca_cert)) if settings.ssl_ca_cert else "",
        insecure=not settings.verify_ssl,
        certificate=_text(Path(settings.cert_file)) if settings.cert_file else "",
        key=_text(Path(settings.key_file)) if settings.key_file else "",
        token=(header or "").removeprefix("Bearer "),
        username=settings.username or "",
        password=settings.password or "",
        namespace=namespace,
    )
