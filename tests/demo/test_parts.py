"""Pushing, comparing, installing, and the load generator's pod: what they ask for and how they judge."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import yaml

from e2e import install
from e2e.demo import demo, predict, push, training, update
from e2e.demo.__main__ import main
from e2e.demo.models import trained
from e2e.demo.story import DemoError
from e2e.install import InstallError, Site
from e2e.load import load, pod
from e2e.load.pod import Load, LoadError, Running
from e2e.scenarios.kube import ROOT, Kube

_jsonschema: Any = jsonschema
PROBABILITIES = np.array([[0.9, 0.1], [0.2, 0.8]], dtype=np.float32)


class Shelf:
    """A repository in memory."""

    def __init__(self) -> None:
        self.manifests: dict[str, bytes] = {}
        self.blobs: dict[str, bytes] = {}
        self.written = 0

    def manifest(self, reference: str) -> bytes | None:
        return self.manifests.get(reference)

    def put_manifest(self, reference: str, data: bytes) -> None:
        self.manifests[reference], self.written = data, self.written + 1

    def put_blob(self, blob: Any, content: Path | bytes) -> None:
        self.blobs[blob.digest] = content if isinstance(content, bytes) else content.read_bytes()


class TestPush:
    def test_three_artifacts_and_a_second_push_writes_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shelf = Shelf()

        def repository(*_: object, **__: object) -> Shelf:
            return shelf

        monkeypatch.setattr(push, "Repository", repository)
        for name in ("model.onnx", "model.onnx.data", trained.CALIBRATION, trained.EVALUATION, trained.FACTS):
            (tmp_path / name).write_bytes(name.encode())
        first = push.push_model("m", tmp_path, "registry:5000", insecure=True)
        assert push.push_model("m", tmp_path, "registry:5000", insecure=True) == first
        assert (set(first), shelf.written) == ({"v1", "v1-calibration", "v1-evaluation"}, 3)
        layers = json.loads(shelf.manifests["v1"])["layers"]
        assert [layer["annotations"]["org.opencontainers.image.title"] for layer in layers] == [
            "model.onnx",
            "model.onnx.data",
        ]
        assert all(layer["digest"] in shelf.blobs for layer in layers)


class TestCompare:
    def test_the_same_answer_is_close(self) -> None:
        found = predict.measure("HTTP", {"y": PROBABILITIES}, {"y": PROBABILITIES + np.float32(0.01)})
        assert found.close
        assert str(found) == "HTTP differs by 2.8%, same class in 100%"

    @pytest.mark.parametrize(
        "answered",
        [{}, {"y": PROBABILITIES[:1]}, {"y": 1 - PROBABILITIES}, {"y": PROBABILITIES * np.float32("nan")}],
        ids=["nothing", "a row less", "another model", "no numbers"],
    )
    def test_another_answer_is_not(self, answered: dict[str, trained.Array]) -> None:
        assert not predict.measure("gRPC", {"y": PROBABILITIES}, answered).close

    @pytest.mark.parametrize(("asked", "measured", "rows"), [(None, 8, 8), (4, 64, 4), (None, 64, 16), (0, 64, 1)])
    def test_no_more_rows_than_the_model_takes(self, asked: int | None, measured: int, rows: int) -> None:
        serving = {} if asked is None else {"maxBatchSize": asked}
        status = {"optimization": {"recommendation": {"maxBatchSize": measured}}}
        assert predict.rows_of({"spec": {"serving": serving}, "status": status}) == rows

    def test_a_model_that_does_not_answer_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def outputs(*_: object) -> dict[str, trained.Array]:
            return {"y": PROBABILITIES}

        monkeypatch.setattr(predict, "source_outputs", outputs)
        np.savez(tmp_path / trained.EVALUATION, x=PROBABILITIES)
        resolved = {"modelName": "m", "hostnames": ["m.local"], "grpcHostnames": ["m-grpc.local"]}
        status = {"resolved": resolved, "optimization": {"recommendation": {"maxBatchSize": 2}}}
        with pytest.raises(DemoError, match=r"m did not answer over HTTP at 127\.0\.0\.1:9"):
            predict.compare("127.0.0.1:9", {"spec": {}, "status": status}, tmp_path)

    def test_the_load_generator_understands_the_request(self) -> None:
        feeds = {"ids": np.array([[1], [2]]), "dense": np.array([[0.5], [1.5]], dtype=np.float32)}
        request = predict.request_json(feeds)
        assert load.grpc_request("m", request)
        assert [tensor["datatype"] for tensor in request["inputs"]] == ["INT64", "FP32"]


class TestTraining:
    def test_a_key_changes_with_its_trainer_and_with_what_trainers_share(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("recommender", "digits", "encoder", "graph"):
            (tmp_path / f"{name}.py").write_text("1")
        monkeypatch.setattr(training, "_FOLDER", tmp_path)
        before = {name: training.key(name) for name in training.MODELS}
        (tmp_path / "digits.py").write_text("2")
        assert {name for name in training.MODELS if training.key(name) != before[name]} == {"digits"}
        (tmp_path / "graph.py").write_text("2")
        assert {name for name in training.MODELS if training.key(name) != before[name]} == set(training.MODELS)

    def test_what_is_there_is_not_trained_again(self, tmp_path: Path) -> None:
        for name in training.MODELS:
            (tmp_path / f"{name}-{training.key(name)}").mkdir()
        said: list[str] = []
        training.prepare(training.MODELS, tmp_path, said.append)
        assert sorted(said) == [f"{name}: in the cache" for name in sorted(training.MODELS)]


class TestInstall:
    def test_the_chart_knows_every_value(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def digest(_: Site, name: str) -> str:
            return f"sha256:{hashlib.sha256(name.encode()).hexdigest()}"

        monkeypatch.setattr(Site, "digest", digest)
        values = install.values(Site(Kube(kubectl="kubectl"), "registry.local:5000"))
        schema = json.loads((install.CHART / "values.schema.json").read_text())
        defaults: dict[str, Any] = yaml.safe_load((install.CHART / "values.yaml").read_text())
        _jsonschema.validate(install.merge(defaults, values), schema)
        assert values["policy"]["artifactStore"] == {"uri": "oci://registry.local:5000/modelwright", "insecure": True}
        assert values["policy"]["sources"]["insecureRegistries"] == ["registry.local:5000"]

    def test_overrides_go_deep(self) -> None:
        base = {"a": {"b": 1, "c": [1]}, "d": 2}
        assert install.merge(base, {"a": {"c": [2]}, "e": {"f": 3}}) == {"a": {"b": 1, "c": [2]}, "d": 2, "e": {"f": 3}}
        assert base["a"] == {"b": 1, "c": [1]}

    def test_a_missing_image_names_the_remedy(self) -> None:
        with pytest.raises(InstallError, match=r"operator:dev cannot be read.*make images REGISTRY=127\.0\.0\.1:9"):
            install.values(Site(Kube(kubectl="kubectl"), "127.0.0.1:9"))

    def test_a_registry_that_does_not_answer_is_not_plain_http(self) -> None:
        assert not install.plain_http("127.0.0.1:9")


LOAD = Load("load-http", "demo", "registry/load@sha256:1", "http", "10.0.0.1:80", "m.local", "m", {"inputs": []})


def answering(folder: Path, pod_status: Mapping[str, Any]) -> Kube:
    """A kubectl that knows one pod."""
    program, answer = folder / "kubectl", folder / "pods.json"
    answer.write_text(json.dumps({"items": [{"metadata": {"name": "load-1"}, "status": pod_status}]}))
    program.write_text(f"#!/bin/sh\ncat {answer}\n")
    program.chmod(0o755)
    return Kube(kubectl=str(program))


class TestPod:
    def test_runs_where_pods_are_restricted(self) -> None:
        config_map, job = LOAD.objects()
        spec = job["spec"]["template"]["spec"]
        container = spec["containers"][0]
        assert spec["securityContext"]["runAsNonRoot"]
        assert spec["automountServiceAccountToken"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert job["spec"]["backoffLimit"] == 0
        assert set(config_map["data"]) == {"payload.json"}

    def test_its_arguments_are_the_generators(self) -> None:
        words = LOAD.objects()[1]["spec"]["template"]["spec"]["containers"][0]["args"]
        plan, result = load.parse(words)
        assert (plan.address, plan.host, plan.rate, plan.seconds) == ("10.0.0.1:80", "m.local", 20.0, 60.0)
        assert str(result) == pod.RESULT

    def test_reads_the_account_from_the_termination_message(self, tmp_path: Path) -> None:
        ended = {"state": {"terminated": {"exitCode": 0, "message": '{"planned": 10, "ok": 9}'}}}
        kube = answering(tmp_path, {"phase": "Succeeded", "containerStatuses": [ended]})
        assert pod.lost(Running(kube, LOAD).result()) == 1

    def test_an_end_without_account_is_an_error(self, tmp_path: Path) -> None:
        ended = {"state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}
        kube = answering(tmp_path, {"phase": "Failed", "containerStatuses": [ended]})
        with pytest.raises(LoadError, match="exit 137, OOMKilled"):
            Running(kube, LOAD).result()


class TestUpdate:
    def test_counts_what_was_lost_and_names_it(self) -> None:
        latency = {"p50": 2.0, "p99": 9.0}
        good = {"planned": 10, "sent": 10, "ok": 10, "failed": {}, "examples": {}, "revisions": {"ra": 4, "rb": 6}}
        bad = {**good, "ok": 8, "failed": {"UNAVAILABLE": 1}, "examples": {"UNAVAILABLE": "unloading"}, "sent": 9}
        results = {"http": {**good, "latencyMs": latency}, "grpc": {**bad, "latencyMs": latency}}
        account = update.Account(results, 12.5, "b")
        assert account.lost == 2
        assert account.lines()[0].startswith("http: 10 planned, 10 sent, 10 ok, 0 lost; answered by ra 4, rb 6")
        assert account.lines()[-1] == "  UNAVAILABLE x 1: unloading"


MODEL: dict[str, Any] = {"metadata": {"name": "m"}, "status": {"resolved": {"hostnames": ["m.demo.local"]}}}


class TestNextSteps:
    def test_there_are_five_and_one_that_finds_the_local_cluster(self) -> None:
        lines = demo.try_next(Kube(kubectl="kubectl", kubeconfig="somewhere"), "10.0.0.1:80", MODEL).splitlines()
        assert lines[1].strip().startswith("export KUBECONFIG=")
        assert len(lines) == 7
        assert "http://10.0.0.1/v2/models/m" in lines[5]

    def test_a_cluster_of_the_users_own_is_named(self) -> None:
        lines = demo.try_next(Kube(kubectl="kubectl", context="kind"), "10.0.0.1:8080", MODEL).splitlines()
        assert len(lines) == 6
        assert all("--context=kind" in line for line in lines if "kubectl" in line)
        assert "10.0.0.1:8080" in lines[4]


class TestCommandLine:
    def test_a_cluster_of_the_users_own_needs_its_registry(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            main(["--context=kind"])
        assert "needs --registry" in capsys.readouterr().err

    def test_a_registry_without_images_ends_it_with_the_remedy(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["--registry=127.0.0.1:9"]) == 1
        assert "build e2e/load as 127.0.0.1:9/modelwright/load:dev and push it" in capsys.readouterr().err


def test_the_dockerfile_copies_what_is_there() -> None:
    folder = ROOT / "e2e" / "load"
    copied = [line.split()[1] for line in (folder / "Dockerfile").read_text().splitlines() if line.startswith("COPY ")]
    assert all((folder / name).exists() for name in copied if not name.startswith("--from"))
