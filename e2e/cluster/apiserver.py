"""A real API server for one test: etcd and kube-apiserver on loopback, in a directory that vanishes.

    with LocalApiServer() as server:
        ...  # server.kubeconfig, server.url, server.audit_log

No node, no scheduler: what needs only the API is tested in seconds, beside a cluster or without one.
"""

import os
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from string import Template
from types import TracebackType
from typing import Self

from e2e.cluster.builds import KUBERNETES_VERSION, ensure_binaries
from e2e.cluster.paths import MANIFESTS
from e2e.cluster.shell import ClusterError, run

__all__ = ["LocalApiServer", "ensure_binaries"]

_PROGRAMS = ("etcd", "kube-apiserver", "kubeadm", "kubectl")
# A test that is killed takes its server along; the kernel sees to it.
_DIE_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL")


class LocalApiServer:
    """A context manager around one API server; enter it in a thread that outlives it.

    controllers: run kube-controller-manager too (garbage collection, Deployments, Jobs; pods stay Pending).
    Objects are checked by the default admission plugins and RBAC; every request is in the audit log (Metadata).
    """

    def __init__(self, *, controllers: bool = False, ready_timeout: float = 60) -> None:
        self._controllers = controllers
        self._ready_timeout = ready_timeout
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._programs: dict[str, Path] = {}
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        self.port = 0
        self._etcd_port = 0

    @property
    def directory(self) -> Path:
        """Where data, certificates and logs are, until the end."""
        if self._directory is None:
            raise RuntimeError("the API server is not running: use it as a context manager")
        return Path(self._directory.name)

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfig of a user whom RBAC does not bind (group system:masters)."""
        return self.directory / "super-admin.conf"

    @property
    def url(self) -> str:
        """The address of the API."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def audit_log(self) -> Path:
        """One JSON event a line: who asked for what, without the contents."""
        return self.directory / "audit.log"

    def __enter__(self) -> Self:
        wanted = (*_PROGRAMS, "kube-controller-manager") if self._controllers else _PROGRAMS
        self._programs = ensure_binaries(wanted)
        self._directory = tempfile.TemporaryDirectory(prefix="modelwright-api-")
        try:
            self.port, self._etcd_port, peer_port = free_ports(3)
            self._start_etcd(peer_port)
            self._make_certificates()
            self.start_apiserver()
            if self._controllers:
                self._start_controllers()
        except BaseException:
            self._clean_up()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clean_up()

    def kubectl(self, *words: str, stdin: str | None = None) -> str:
        """Run kubectl against this server and return what it printed."""
        return run([self._programs["kubectl"], "--kubeconfig", self.kubeconfig, *words], stdin=stdin, timeout=60)

    def start_apiserver(self) -> None:
        """Start the API server; again after stop_apiserver, on the same port and the same data."""
        self._spawn("kube-apiserver", *self._apiserver_flags())
        self._await_ready()

    def stop_apiserver(self) -> None:
        """Take the API server away, as an outage would: clients see refused connections."""
        _end(self._processes.pop("kube-apiserver"))

    def _start_etcd(self, peer_port: int) -> None:
        client, peer = (f"http://127.0.0.1:{port}" for port in (self._etcd_port, peer_port))
        self._spawn(
            "etcd",
            f"--data-dir={self.directory}/etcd",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",
            "--log-level=warn",
        )

    def _make_certificates(self) -> None:
        """Let kubeadm make the certificates and the kubeconfig, as it would for a cluster."""
        config = self.directory / "kubeadm.yaml"
        values = {"VERSION": KUBERNETES_VERSION, "PORT": str(self.port), "PKI": f"{self.directory}/pki"}
        config.write_text(Template((MANIFESTS / "local-apiserver.yaml").read_text()).substitute(values))
        phase = [self._programs["kubeadm"], "init", "phase"]
        run([*phase, "certs", "all", "--config", config])
        run([*phase, "kubeconfig", "super-admin", "--config", config, "--kubeconfig-dir", self.directory])

    def _apiserver_flags(self) -> list[str]:
        pki = f"{self.directory}/pki"
        # Without controllers nobody makes the service accounts that this plugin asks for.
        off = [] if self._controllers else ["--disable-admission-plugins=ServiceAccount"]
        return [
            f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self.port}",
            # Nobody looks for this server through a Service, so that its address there does not matter.
            "--advertise-address=192.0.2.1",
            "--endpoint-reconciler-type=none",
            "--service-cluster-ip-range=10.132.0.0/24",
            f"--tls-cert-file={pki}/apiserver.crt",
            f"--tls-private-key-file={pki}/apiserver.key",
            f"--client-ca-file={pki}/ca.crt",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={pki}/sa.pub",
            f"--service-account-signing-key-file={pki}/sa.key",
            f"--requestheader-client-ca-file={pki}/front-proxy-ca.crt",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--proxy-client-cert-file={pki}/front-proxy-client.crt",
            f"--proxy-client-key-file={pki}/front-proxy-client.key",
            "--authorization-mode=RBAC",
            f"--audit-policy-file={MANIFESTS / 'audit-everything.yaml'}",
            f"--audit-log-path={self.audit_log}",
            *off,
        ]

    def _start_controllers(self) -> None:
        self._spawn(
            "kube-controller-manager",
            f"--kubeconfig={self.kubeconfig}",
            f"--service-account-private-key-file={self.directory}/pki/sa.key",
            f"--root-ca-file={self.directory}/pki/ca.crt",
            "--use-service-account-credentials=false",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
            "--secure-port=0",
        )

    def _spawn(self, name: str, *flags: str) -> None:
        with self._log(name).open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [*_DIE_WITH_PARENT, self._programs[name], *flags], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def _log(self, name: str) -> Path:
        return self.directory / f"{name}.log"

    def _await_ready(self) -> None:
        """Wait until the server is ready and has made the namespaces that every client expects."""
        deadline = time.monotonic() + self._ready_timeout
        trust = ssl.create_default_context(cafile=f"{self.directory}/pki/ca.crt")
        while not self._answers(trust):
            for name, process in self._processes.items():
                if process.poll() is not None:
                    raise ClusterError(f"{name} ended with {process.returncode}", log=self._keep(name))
            if time.monotonic() > deadline:
                raise ClusterError(f"no ready API server after {self._ready_timeout:.0f} s", log=self._keep())
            time.sleep(0.05)
        while not self.kubectl("get", "namespace", "default", "--ignore-not-found", "--output=name"):
            time.sleep(0.05)

    def _keep(self, name: str = "kube-apiserver") -> Path:
        """Save a log from the directory that is about to vanish."""
        kept = Path(tempfile.gettempdir(), f"modelwright-{name}-{os.getpid()}.log")
        kept.write_bytes(self._log(name).read_bytes())
        return kept

    def _answers(self, trust: ssl.SSLContext) -> bool:
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust)
        )
        try:
            with opener.open(f"{self.url}/readyz", timeout=2) as response:
                return response.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def _clean_up(self) -> None:
        for name in ("kube-controller-manager", "kube-apiserver", "etcd"):
            if process := self._processes.pop(name, None):
                _end(process)
        if self._directory is not None:
            self._directory.cleanup()
            self._directory = None


def free_ports(count: int) -> list[int]:
    """Ports of loopback that were free a moment ago; all are held until all are known."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _end(process: subprocess.Popen[bytes]) -> None:
    """Nothing here is worth a graceful end, which takes an API server many seconds."""
    process.kill()
    process.wait()
