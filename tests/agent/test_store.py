"""The artifact store, on a real registry and on disk: the same behaviour and the same bytes."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from modelwright.agent import store as stores
from modelwright.agent.layout import Layout
from modelwright.agent.store import ArtifactStore, open_store
from modelwright.contract import artifact, digest
from modelwright.contract.request import Store
from modelwright.errors import InputError, StoreError

if TYPE_CHECKING:
    from tests.agent.conftest import Web

KEY = "sha256:" + "ab" * 32
CONFIG = b'{"backend":"onnxruntime"}'


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    content = {"model/model.onnx": b"m" * 3_000_000, "golden.json": b"{}", "report.json": b'{"a":1}', "empty": b""}
    made: dict[str, Path] = {}
    for title, data in content.items():
        made[title] = tmp_path / "out" / title
        made[title].parent.mkdir(parents=True, exist_ok=True)
        made[title].write_bytes(data)
    return made


@pytest.fixture(params=["registry", "disk"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "disk":
        return Store(uri=f"file://{tmp_path}/store", namespace="team-a")
    address = request.getfixturevalue("registry")
    return Store(uri=f"oci://{address}/{tmp_path.name.replace('_', '-')}", namespace="team-a", insecure=True)


@pytest.fixture
def store(where: Store) -> ArtifactStore:
    return open_store(where)


def test_an_unknown_key_has_no_artifact(store: ArtifactStore) -> None:
    assert store.find(KEY) is None
    assert store.load_journal(KEY) is None


def test_what_was_pushed_is_found_and_pulled_whole(
    store: ArtifactStore, files: dict[str, Path], tmp_path: Path
) -> None:
    pushed = store.push(KEY, CONFIG, files)
    assert store.find(KEY) == pushed
    assert store.read_config(pushed) == CONFIG
    assert store.read_file(pushed, "report.json") == b'{"a":1}'
    pulled = store.pull(pushed, tmp_path / "in")
    assert set(pulled.files) == set(files)
    for title, path in files.items():
        assert (tmp_path / "in" / title).read_bytes() == path.read_bytes()


def test_the_first_artifact_of_a_key_stays(store: ArtifactStore, files: dict[str, Path]) -> None:
    first = store.push(KEY, CONFIG, files)
    assert store.push(KEY, CONFIG, files) == first
    assert store.push(KEY, b'{"backend":"openvino"}', files) == first
    assert store.read_config(first) == CONFIG


def test_writers_at_the_same_time_agree_on_the_first(tmp_path: Path, files: dict[str, Path]) -> None:
    where = Store(uri=f"file://{tmp_path}/store", namespace="n")

    def push(number: int) -> str:
        return open_store(where).push(KEY, f'{{"n":{number}}}'.encode(), files)

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(push, range(8)))) == 1


def test_manifests_are_the_same_bytes_in_every_store(registry: str, files: dict[str, Path], tmp_path: Path) -> None:
    on_disk = open_store(Store(uri=f"file://{tmp_path}/store", namespace="n"))
    remote = open_store(Store(uri=f"oci://{registry}/same", namespace="n", insecure=True))
    pushed = on_disk.push(KEY, CONFIG, files)
    assert remote.push(KEY, CONFIG, files) == pushed
    manifest = json.loads((tmp_path / "store" / "n" / "blobs" / "sha256" / pushed.removeprefix("sha256:")).read_bytes())
    assert manifest["artifactType"] == artifact.ARTIFACT_TYPE
    assert manifest["config"]["mediaType"] == artifact.CONFIG_MEDIA_TYPE
    assert [layer["annotations"][artifact.TITLE] for layer in manifest["layers"]] == sorted(files)


def test_a_journal_is_replaced(store: ArtifactStore) -> None:
    store.save_journal(KEY, b"one")
    assert store.load_journal(KEY) == b"one"
    store.save_journal(KEY, b"")
    assert store.load_journal(KEY) == b""
    store.save_journal(KEY, b"two")
    assert store.load_journal(KEY) == b"two"
    assert store.find(KEY) is None


def test_namespaces_do_not_see_each_other(where: Store, files: dict[str, Path]) -> None:
    open_store(where).push(KEY, CONFIG, files)
    assert open_store(where.model_copy(update={"namespace": "team-b"})).find(KEY) is None


def test_a_missing_artifact_is_said_to_be_missing(store: ArtifactStore, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="There is no artifact") as caught:
        store.pull("sha256:" + "0" * 64, tmp_path / "in")
    assert caught.value.reason == "ArtifactFetchFailed"
    assert not caught.value.retriable
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_blob_is_never_laid_down(
    where: Store, store: ArtifactStore, files: dict[str, Path], tmp_path: Path, registry_folder: Path
) -> None:
    pushed = store.push(KEY, CONFIG, files)
    root = tmp_path / "store" if where.uri.startswith("file") else registry_folder
    damaged = _content(root, b"m" * 3_000_000)
    for path in damaged:
        path.write_bytes(b"x" * 3_000_000)
    with pytest.raises(StoreError, match="not what its digest says") as caught:
        store.pull(pushed, tmp_path / "in")
    assert caught.value.reason == "ArtifactFetchFailed"
    assert not (tmp_path / "in").exists()
    assert not list(tmp_path.glob(".in*"))
    for path in damaged:
        path.write_bytes(b"m" * 3_000_000)


def _content(root: Path, data: bytes) -> list[Path]:
    return [p for p in root.rglob("*") if p.is_file() and p.stat().st_size == len(data) and p.read_bytes() == data]


def test_a_registry_that_is_down_is_retriable(files: dict[str, Path]) -> None:
    store = open_store(Store(uri="oci://127.0.0.1:1/x", namespace="n", insecure=True))
    with pytest.raises(StoreError, match="refused the connection") as caught:
        store.find(KEY)
    assert caught.value.reason == "StoreUnavailable"
    assert caught.value.retriable


def test_a_passing_fault_is_ridden_out(web: "Web", registry: str) -> None:
    calls: list[str] = []

    def flaky(handler: BaseHTTPRequestHandler) -> None:
        calls.append(handler.path)
        status = 503 if len(calls) < 3 else 404
        handler.send_response(status)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    web.fallback = flaky
    store = open_store(Store(uri=f"oci://{web.netloc}/x", namespace="n", insecure=True))
    assert store.find(KEY) is None
    assert len(calls) == 3


def test_a_password_is_used_and_a_wrong_one_is_refused_at_once(
    guarded_registry: str, files: dict[str, Path], secret: Callable[..., Path], tmp_path: Path
) -> None:
    where = Store(uri=f"oci://{guarded_registry}/models", namespace="team-a", insecure=True)
    login = {"auths": {f"http://{guarded_registry}": {"username": "user", "password": "secret"}}}
    folder = secret(dockerconfigjson=json.dumps(login))
    store = open_store(where, folder)
    pushed = store.push(KEY, CONFIG, files)
    assert open_store(where, folder).find(KEY) == pushed
    store.pull(pushed, tmp_path / "in")
    with pytest.raises(StoreError, match="refused the login") as caught:
        open_store(where).find(KEY)
    assert caught.value.reason == "StoreUnavailable"
    login["auths"][f"http://{guarded_registry}"]["password"] = "wrong"
    (folder / "..data" / ".dockerconfigjson").write_text(json.dumps(login))
    with pytest.raises(StoreError, match="refused the login") as caught:
        open_store(where, folder).find(KEY)
    assert "wrong" not in str(caught.value)


def test_the_folder_is_an_image_layout(files: dict[str, Path], tmp_path: Path) -> None:
    pushed = open_store(Store(uri=f"file://{tmp_path}/store", namespace="n")).push(KEY, CONFIG, files)
    root = tmp_path / "store" / "n"
    index = json.loads((root / "index.json").read_text())
    assert {entry["digest"] for entry in index["manifests"]} == {pushed}
    assert json.loads((root / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}


@pytest.mark.parametrize("uri", ["s3://bucket/x", "oci://", "oci://user:pw@host/x", "/plain/path"])
def test_what_is_no_store_is_refused(uri: str) -> None:
    with pytest.raises(InputError, match="no artifact store") as caught:
        open_store(Store(uri=uri, namespace="n"))
    assert "pw" not in str(caught.value)


def test_a_namespace_cannot_leave_its_place(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no DNS label"):
        open_store(Store(uri=f"file://{tmp_path}", namespace="../other"))


def test_titles_that_leave_the_folder_are_refused(store: ArtifactStore, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x")
    with pytest.raises(ValueError, match="below the artifact's root"):
        store.push(KEY, CONFIG, {"../f": tmp_path / "f"})


def test_a_hostile_manifest_writes_nothing(tmp_path: Path, files: dict[str, Path]) -> None:
    store = open_store(Store(uri=f"file://{tmp_path}/store", namespace="n"))
    good = Layout(tmp_path / "store" / "n")
    manifest = json.loads(good.manifest(store.push(KEY, CONFIG, files)) or b"")
    manifest["layers"][0]["annotations"][artifact.TITLE] = "../../escape"
    data = json.dumps(manifest).encode()
    good.put_manifest("hostile", data)
    with pytest.raises(StoreError, match="no path below its folder"):
        store.pull(digest.of_bytes(data), tmp_path / "in" / "deep")
    assert not (tmp_path / "escape").exists()


def test_a_half_made_folder_never_takes_the_name(tmp_path: Path) -> None:
    def fill() -> None:
        with stores.new_folder(tmp_path / "dest") as folder:
            (folder / "file").write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fill()
    assert list(tmp_path.iterdir()) == []
