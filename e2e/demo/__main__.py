"""`make demo`: from a cluster to three optimized models that answer, and an update that loses nothing."""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from e2e import install
from e2e.cluster.paths import CACHE
from e2e.cluster.shell import ClusterError
from e2e.cluster.stages import Stages, explain
from e2e.demo import predict, push, table, training
from e2e.demo.story import DemoError, Story
from e2e.demo.update import Update
from e2e.install import InstallError, Site
from e2e.load.pod import LoadError
from e2e.scenarios import traffic
from e2e.scenarios.kube import MODELS, ROOT, Kube, KubectlError, Obj
from modelwright.errors import ModelwrightError

NAMESPACE: Final = "demo"
READY_SECONDS: Final = 1200.0
PLACEHOLDER: Final = "registry.example.com"
"""What the examples call their registry."""


def main(words: Sequence[str]) -> int:
    """Run the demo.

    Returns:
        Exit code: 1 after any failure, and if the update lost a request.
    """
    asked = _parser().parse_args(words)
    stages = Stages()
    try:
        return Demo(_site(asked, stages), stages, asked.cache).run()
    except ClusterError as error:
        print(explain(error), file=sys.stderr)
    except (DemoError, InstallError, LoadError, KubectlError, ModelwrightError) as error:
        print(f"error: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    return 1


class Demo:
    """The demo, stage by stage."""

    def __init__(self, site: Site, stages: Stages, cache: Path) -> None:
        self._site, self._kube, self._stages, self._cache = site, site.kube, stages, cache
        self._story = Story(site.kube, NAMESPACE, stages.say)

    def run(self) -> int:
        """All of it."""
        say = self._stages.say
        with self._stages.stage("chart"):
            install.install(self._site)
        with self._stages.stage("train three models"):
            folders = training.prepare(training.MODELS, self._cache, lambda text: say(f"  {text}"))
        with self._stages.stage("push them to the registry"):
            for name, folder in folders.items():
                push.push_model(name, folder, self._site.registry, insecure=self._site.insecure)
        say(f"kubectl apply -f examples/{{{','.join(folders)}}}.yaml  ({PLACEHOLDER} is {self._site.registry})")
        self._apply(folders)
        models = self._story.until_ready(folders, READY_SECONDS)
        address = traffic.gateway_address(self._kube)
        self._predict(models, folders, address)
        lost = self._update(models["recommender"], folders["recommender"], address)
        print(f"\n{table.render(self._model(name) for name in folders)}\n")
        print(_try_next(self._kube, address, models["recommender"]))
        return 1 if lost else 0

    def _apply(self, names: Sequence[str] | dict[str, Path]) -> None:
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        self._kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}})
        for name in names:
            text = (ROOT / "examples" / f"{name}.yaml").read_text(encoding="utf-8")
            rendered = text.replace(PLACEHOLDER, self._site.registry)
            self._kube.run("apply", f"--namespace={NAMESPACE}", "--filename=-", stdin=rendered)

    def _predict(self, models: dict[str, Obj], folders: dict[str, Path], address: str) -> None:
        """Compare answers; a model that answers something else ends the demo."""
        with self._stages.stage(f"predictions through the gateway at {address}, beside the source model's own"):
            for name, model in models.items():
                found = predict.compare(address, model, folders[name])
                self._stages.say(f"  {name:<12} {'; '.join(map(str, found))}")
                if not all(one.close for one in found):
                    raise DemoError(f"{name}: what is served is not the model that was trained")

    def _update(self, model: Obj, folder: Path, address: str) -> int:
        """Change the model under load; how many requests were lost."""
        feeds = predict.trained.feeds(folder, predict.ROWS)
        expected = predict.source_outputs(folder, feeds)
        spread = float(next(iter(expected.values())).std())
        payload = {
            "request": predict.request_json(feeds),
            "outputs": {name: values.reshape(-1).tolist() for name, values in expected.items()},
            "atol": predict.TOLERANCE * spread,
            "rtol": 0.0,
        }
        image = f"{self._site.image('load')}@{self._site.digest('load')}"
        with self._stages.stage("an update under load"):
            account = Update(self._story, self._model(model["metadata"]["name"]), payload, image, address).run(
                self._stages.say
            )
            for line in account.lines():
                self._stages.say(f"  {line}")
        self._stages.say(f"requests lost: {account.lost}")
        return account.lost

    def _model(self, name: str) -> Obj:
        return self._kube.get(MODELS, name, NAMESPACE)


def _site(asked: argparse.Namespace, stages: Stages) -> Site:
    """The cluster that was named; else the local one, brought up, with images of this checkout."""
    if asked.context or asked.registry:
        if not asked.registry:
            raise DemoError("a cluster of your own needs --registry: where its images are, and where models are put")
        return Site(Kube(context=asked.context), asked.registry, install.plain_http(asked.registry), asked.tag)
    registry = _local(stages, "cluster", "-m", "e2e.cluster", "registry")
    _local(stages, "cluster", "-m", "e2e.cluster", "up")
    kubeconfig = _local(stages, "cluster", "-m", "e2e.cluster", "kubeconfig")
    _local(stages, "images", "images/build.py", "--registry", registry, "--tag", asked.tag)
    load = ("build-image", ".", "e2e/load/Dockerfile", f"modelwright/load:{asked.tag}")
    _local(stages, "images", "-m", "e2e.cluster", *load)
    return Site(Kube(kubeconfig=kubeconfig), registry, insecure=True, tag=asked.tag)


def _local(stages: Stages, name: str, *words: str) -> str:
    """Run one of our own programs, whose progress passes through; the last line of its answer."""
    done = subprocess.run([sys.executable, *words], stdout=subprocess.PIPE, text=True, cwd=ROOT, check=False)
    if done.returncode:
        stages.say(f"{name}: FAILED")
        raise DemoError(f"{' '.join(words[:3])} failed with exit code {done.returncode}; its words are above")
    return (done.stdout.strip().splitlines() or [""])[-1]


def _try_next(kube: Kube, address: str, model: Obj) -> str:
    """Five commands; they name the cluster only where kubectl would not find it by itself."""
    kubectl = " ".join(
        [
            "kubectl" if kube.context or "KUBECONFIG" in os.environ else f"KUBECONFIG={kube.kubeconfig} bin/kubectl",
            *([f"--context={kube.context}"] if kube.context else []),
            f"-n {NAMESPACE}",
        ]
    )
    host, name = model["status"]["resolved"]["hostnames"][0], model["metadata"]["name"]
    commands = (
        f"{kubectl} get om -o wide",
        f"{kubectl} describe om {name}",
        f'{kubectl} patch om digits --type=merge -p \'{{"spec":{{"replicas":2}}}}\'; {kubectl} get om -w',
        f"curl -s -H 'Host: {host}' http://{address}/v2/models/{name}",
        f"{kubectl} explain om.spec.optimization.gates",
    )
    return "\n".join(["Try next:", *(f"  {command}" for command in commands)])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m e2e.demo", description=__doc__)
    parser.add_argument(
        "--context", default=os.environ.get("CONTEXT", ""), help="of a cluster of your own, or $CONTEXT"
    )
    parser.add_argument("--registry", default="", help="host[:port] that its nodes and this machine both reach")
    parser.add_argument("--tag", default=os.environ.get("TAG", "dev"), help="of the images, or $TAG")
    parser.add_argument("--cache", type=Path, default=CACHE / "demo", help="where trained models are kept")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
