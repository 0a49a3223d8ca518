"""A store that fails on demand: a pod that answers 404, 403, nothing at all, or the file."""

import base64
from pathlib import Path

from e2e.scenarios.kube import Kube, Obj

NAME = "fault-store"
PORT = 8080

SCRIPT = """
import http.server, time

class Faults(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        word = self.path.split("/")[1]
        if word == "hang":
            time.sleep(3600)
        if word.isdecimal():
            self.send_error(int(word))
            return
        data = open("/srv/faults/" + word, "rb").read()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

http.server.ThreadingHTTPServer(("", 8080), Faults).serve_forever()
"""


def start(kube: Kube, namespace: str, image: str, files: dict[str, Path]) -> str:
    """Start the store; returns its URL. `http://…/404/x` answers 404, `/hang/x` never, `/<file>` the file."""
    kube.apply(_files(namespace, files), _pod(namespace, image), _service(namespace))
    kube.run("wait", "--for=condition=Ready", f"pod/{NAME}", f"--namespace={namespace}", "--timeout=120s", timeout=130)
    return f"http://{NAME}.{namespace}.svc:{PORT}"


def _files(namespace: str, files: dict[str, Path]) -> Obj:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": NAME, "namespace": namespace},
        "data": {"server.py": SCRIPT},
        "binaryData": {name: base64.b64encode(path.read_bytes()).decode() for name, path in files.items()},
    }


def _pod(namespace: str, image: str) -> Obj:
    restricted = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    container = {
        "name": "store",
        "image": image,
        "command": ["python3", "/srv/faults/server.py"],
        "ports": [{"containerPort": PORT}],
        "securityContext": restricted,
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
        "readinessProbe": {"httpGet": {"path": "/server.py", "port": PORT}, "periodSeconds": 1},
        "volumeMounts": [{"name": "files", "mountPath": "/srv/faults"}],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": NAME, "namespace": namespace, "labels": {"app": NAME}},
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [container],
            "volumes": [{"name": "files", "configMap": {"name": NAME}}],
        },
    }


def _service(namespace: str) -> Obj:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": NAME, "namespace": namespace},
        "spec": {"selector": {"app": NAME}, "ports": [{"port": PORT}]},
    }
