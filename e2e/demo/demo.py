"""The demo's stages, from the chart to the closing table."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from e2e import install
from e2e.cluster.stages import Stages
from e2e.demo import predict, push, table, training
from e2e.demo.models import trained
from e2e.demo.story import DemoError, Story
from e2e.demo.update import Update
from e2e.install import Site
from e2e.scenarios import traffic
from e2e.scenarios.kube import MODELS, ROOT, Kube, Obj

NAMESPACE: Final = "demo"
READY_SECONDS: Final = 1200.0
PLACEHOLDER: Final = "registry.example.com"
"""What the examples call their registry."""


class Demo:
    """The demo, stage by stage."""

    def __init__(self, site: Site, stages: Stages, cache: Path) -> None:
        self._site, self._kube, self._stages, self._cache = site, site.kube, stages, cache
        self._story = Story(site.kube, NAMESPACE, stages.say)

    def run(self) -> int:
        """All of it."""
        say = self._stages.say
        load = f"{self._site.image('load')}@{self._site.digest('load')}"  # asked now, for it is needed last
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
        lost = self._update(folders["recommender"], load, address)
        print(f"\n{table.render(self._model(name) for name in folders)}\n")
        print(try_next(self._kube, address, models["recommender"]))
        return 1 if lost else 0

    def _apply(self, names: Iterable[str]) -> None:
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

    def _update(self, folder: Path, image: str, address: str) -> int:
        """Change the recommender under load; how many requests were lost."""
        feeds = trained.feeds(folder, predict.rows_of(self._model("recommender")))
        expected = predict.source_outputs(folder, feeds)
        spread = float(next(iter(expected.values())).std())
        payload = {
            "request": predict.request_json(feeds),
            "outputs": {name: values.reshape(-1).tolist() for name, values in expected.items()},
            "atol": predict.TOLERANCE * spread,
            "rtol": 0.0,
        }
        self._stages.say("an update under load")
        account = Update(self._story, self._model("recommender"), payload, image, address).run(self._stages.say)
        for line in account.lines():
            self._stages.say(f"  {line}")
        self._stages.say(f"requests lost: {account.lost}")
        return account.lost

    def _model(self, name: str) -> Obj:
        return self._kube.get(MODELS, name, NAMESPACE)


def try_next(kube: Kube, address: str, model: Obj) -> str:
    """Five commands; before them the one that makes kubectl find a cluster that it does not know."""
    place = f"-n {NAMESPACE}" + (f" --context={kube.context}" if kube.context else "")
    host, name = model["status"]["resolved"]["hostnames"][0], model["metadata"]["name"]
    lines = [
        "Try next:",
        f"kubectl get om -o wide {place}",
        f"kubectl describe om {name} {place}",
        f"kubectl scale om {name} --replicas=2 {place}",
        f"curl -s -H 'Host: {host}' http://{address.removesuffix(':80')}/v2/models/{name}",
        f"kubectl explain om.spec.optimization.gates {place}",
    ]
    if kube.kubeconfig:
        lines.insert(1, "export KUBECONFIG=$(make -s kubeconfig) PATH=$PWD/bin:$PATH")
    return "\n  ".join(lines)
