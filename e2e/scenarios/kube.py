"""kubectl, and nothing else: every read and write of the scenarios goes through it, as a user's would."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Obj = dict[str, Any]

ROOT = Path(__file__).resolve().parents[2]
GROUP = "modelwright.dev"
MODELS = "optimizedmodels.modelwright.dev"
POLICIES = "servingpolicies.modelwright.dev"


class KubectlError(AssertionError):
    """kubectl refused; `stderr` is what it said."""

    def __init__(self, words: Sequence[str], stderr: str) -> None:
        super().__init__(f"kubectl {' '.join(words)}: {stderr.strip()}")
        self.stderr = stderr


def program() -> str:
    """The kubectl of the checkout, else the one on the path."""
    ours = ROOT / "bin" / "kubectl"
    found = str(ours) if ours.exists() else shutil.which("kubectl")
    if found is None:
        raise RuntimeError("there is no kubectl: run `make cluster`, or put one on the PATH")
    return found


@dataclass(frozen=True)
class Kube:
    """One cluster, as KUBECONFIG and CONTEXT name it."""

    context: str = ""
    kubeconfig: str = ""
    kubectl: str = field(default_factory=program)

    @classmethod
    def from_environment(cls) -> "Kube":
        """The cluster that the environment names."""
        return cls(context=os.environ.get("CONTEXT", ""))

    def command(self, *words: str) -> list[str]:
        """The command line, for those who run it themselves."""
        chosen = [f"--kubeconfig={self.kubeconfig}"] if self.kubeconfig else []
        return [self.kubectl, *chosen, *([f"--context={self.context}"] if self.context else []), *words]

    def run(self, *words: str, stdin: str | None = None, timeout: float = 60) -> str:
        """Standard output of kubectl.

        Raises:
            KubectlError: It did not exit 0.
        """
        done = subprocess.run(
            self.command(*words), input=stdin, capture_output=True, text=True, timeout=timeout, check=False
        )
        if done.returncode != 0:
            raise KubectlError(words, done.stderr or done.stdout)
        return done.stdout

    def get(self, kind: str, name: str, namespace: str = "") -> Obj:
        """One object."""
        return json.loads(self.run("get", kind, name, *_within(namespace), "--output=json", "--show-managed-fields"))

    def find(self, kind: str, name: str, namespace: str = "") -> Obj | None:
        """One object, or None if there is none."""
        text = self.run("get", kind, name, *_within(namespace), "--output=json", "--ignore-not-found")
        return json.loads(text) if text.strip() else None

    def list(self, kind: str, namespace: str = "", selector: str = "", everywhere: bool = False) -> list[Obj]:  # noqa: FBT001, FBT002 - a flag of kubectl's
        """Objects of a kind."""
        words = ["get", kind, "--output=json", *_within(namespace)]
        words += [f"--selector={selector}"] if selector else []
        words += ["--all-namespaces"] if everywhere else []
        return json.loads(self.run(*words))["items"]

    def apply(self, *objects: Mapping[str, Any]) -> str:
        """`kubectl apply` of whole objects."""
        return self.run("apply", "--filename=-", stdin=_stream(objects))

    def apply_server_side(self, *objects: Mapping[str, Any], manager: str = "kubectl") -> str:
        """`kubectl apply --server-side`: no annotation with a copy of the object, so its size is judged as it is."""
        words = ("apply", "--server-side", "--force-conflicts", f"--field-manager={manager}", "--filename=-")
        return self.run(*words, stdin=_stream(objects))

    def delete(self, kind: str, name: str, namespace: str = "", *, wait: bool = True) -> None:
        """Delete an object that may be gone already."""
        self.run("delete", kind, name, *_within(namespace), "--ignore-not-found", f"--wait={str(wait).lower()}",
                 timeout=180)  # fmt: skip

    def patch(self, kind: str, name: str, body: Mapping[str, Any], namespace: str = "") -> Obj:
        """A JSON merge patch."""
        words = ("patch", kind, name, *_within(namespace), "--type=merge", f"--patch={json.dumps(body)}")
        return json.loads(self.run(*words, "--output=json"))


def _within(namespace: str) -> list[str]:
    return [f"--namespace={namespace}"] if namespace else []


def _stream(objects: Sequence[Mapping[str, Any]]) -> str:
    """A YAML stream, for JSON is YAML."""
    return "\n---\n".join(json.dumps(one) for one in objects)
