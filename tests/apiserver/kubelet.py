"""A played kubelet: pods that the real controllers make start, end and say their last words as a script tells."""

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

from e2e.scenarios.kube import GROUP, Kube, KubectlError, Obj
from e2e.scenarios.watching import Watch
from tests.builders import optimize_answer, resolve_answer

Words = Callable[[Obj], tuple[int, str]]


def all_well(pod: Obj) -> tuple[int, str]:
    """Every Job's pod succeeds with the builders' answer."""
    return 0, resolve_answer() if stage_of(pod) == "resolve" else optimize_answer()


def stage_of(pod: Obj) -> str:
    return pod["metadata"]["labels"].get(f"{GROUP}/stage", "")


@dataclass
class Kubelet:
    """Plays the pods of one namespace."""

    kube: Kube
    namespace: str
    words: Words = all_well
    held: set[str] = field(default_factory=set[str])
    """Stages whose pods are left pending."""
    played: set[str] = field(default_factory=set[str])
    _closed: bool = False
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.watch = Watch(self.kube, "pods", self.namespace).__enter__()
        self.jobs = Watch(self.kube, "jobs", self.namespace).__enter__()
        self._thread = threading.Thread(target=self._play, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        self.watch.__exit__()
        self.jobs.__exit__()

    def jobs_made(self, model: str) -> dict[str, int]:
        """How many Jobs of each stage were ever made for a model, also if they are gone."""
        found: dict[str, set[str]] = {}
        for change in list(self.jobs.changes):
            meta = change.object["metadata"]
            if meta["labels"].get(f"{GROUP}/model") == model:
                found.setdefault(meta["labels"][f"{GROUP}/stage"], set()).add(meta["uid"])
        return {stage: len(uids) for stage, uids in found.items()}

    def _play(self) -> None:
        while not self._closed:
            pods = [c.object for c in list(self.watch.changes) if c.type != "DELETED"]
            for pod in {pod["metadata"]["uid"]: pod for pod in pods}.values():
                uid, stage = pod["metadata"]["uid"], stage_of(pod)
                if stage and stage not in self.held and uid not in self.played:
                    self.played.add(uid)
                    self._end(pod) if stage in {"resolve", "optimize"} else self._run(pod)
            time.sleep(0.1)

    def _end(self, pod: Obj) -> None:
        code, text = self.words(pod)
        reason = "Completed" if code == 0 else "Error"
        ended = {"exitCode": code, "reason": reason, "message": text, "startedAt": _now(), "finishedAt": _now()}
        statuses = [_container(c, ready=False, state={"terminated": ended}) for c in pod["spec"]["containers"]]
        self._set(pod, {"phase": "Failed" if code else "Succeeded", "containerStatuses": statuses})

    def _run(self, pod: Obj) -> None:
        state = {"running": {"startedAt": _now()}}
        statuses = [_container(c, ready=True, state=state) for c in pod["spec"]["containers"]]
        true = [{"type": kind, "status": "True", "lastTransitionTime": _now()} for kind in ("ContainersReady", "Ready")]
        self._set(pod, {"phase": "Running", "containerStatuses": statuses, "conditions": true})

    def _set(self, pod: Obj, status: Mapping[str, Any]) -> None:
        words = ("patch", "pod", pod["metadata"]["name"], f"--namespace={self.namespace}", "--subresource=status")
        try:
            self.kube.run(*words, "--type=merge", f"--patch={json.dumps({'status': status})}")
        except KubectlError as error:
            if "NotFound" not in error.stderr:
                raise


def _container(container: Obj, *, ready: bool, state: Mapping[str, Any]) -> Obj:
    image = {"image": container["image"], "imageID": "", "restartCount": 0}
    return {"name": container["name"], "ready": ready, "started": ready, "state": state, **image}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
