"""Sources, on real servers: what is fetched, what it is called, and how each fault is told."""

import hashlib
import json
import os
import socket
import subprocess
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from modelwright.agent import sources, transport
from modelwright.agent.locations import place, redacted
from modelwright.agent.store import open_store
from modelwright.contract import paths
from modelwright.contract.request import Fetching, Location, Store
from modelwright.errors import InputError, ModelwrightError, StoreError

if TYPE_CHECKING:
    from tests.agent.conftest import Bucket, Web

LOCAL = Fetching(schemes=("https", "http", "s3", "gs", "az", "oci", "pvc", "file"), timeout_seconds=0.5)


def sha(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def refusal(uri: str, tmp_path: Path, fetching: Fetching = LOCAL, secret: Path | None = None) -> ModelwrightError:
    """The error of fetching `uri`; nothing may be left behind."""
    dest = tmp_path / "sub" / "dest"
    with pytest.raises((InputError, StoreError)) as caught:
        sources.fetch(Location(uri=uri), dest, fetching, secret)
    assert list(dest.parent.iterdir()) == [] if dest.parent.exists() else True
    return caught.value


def reason(error: ModelwrightError) -> str:
    assert isinstance(error, InputError | StoreError)
    return error.reason


# URIs


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("ftp://host/x", "UnsupportedScheme"),
        ("gopher://host/x", "UnsupportedScheme"),
        ("model.onnx", "UnsupportedScheme"),
        ("http://host/x", "UnsupportedScheme"),
        ("file:///etc/passwd", "UnsupportedScheme"),
        ("https://user:secret@host/x", "UnsafePath"),
        ("s3://key:secret@bucket/x", "UnsafePath"),
        ("oci://user@host/x:tag", "UnsafePath"),
        ("s3://bucket/a/../b", "UnsafePath"),
        ("s3://bucket/a/%2e%2e/b", "UnsafePath"),
        ("pvc://claim/../other", "UnsafePath"),
        ("s3://bucket/a//b", "UnsafePath"),
        ("s3://bucket/x?versionId=1", "UnsafePath"),
        ("s3:///x", "UnsafePath"),
        ("https://host:port/x", "UnsafePath"),
        ("https://host/x\r\nHost: other", "UnsafePath"),
        ("https://host/a b", "UnsafePath"),
        ("https://host\\@other/x", "UnsafePath"),
    ],
)
def test_a_uri_that_could_reach_elsewhere_is_refused(uri: str, why: str) -> None:
    with pytest.raises(InputError) as caught:
        place(uri, Fetching().schemes)
    assert caught.value.reason == why
    assert "secret" not in str(caught.value)


def test_a_uri_without_a_path_is_a_folder() -> None:
    assert place("pvc://claim", ("pvc",)).folder
    assert place("s3://bucket/a/", ("s3",)).folder
    assert not place("s3://bucket/a", ("s3",)).folder


def test_messages_show_neither_user_nor_signature() -> None:
    assert redacted("https://u:p@host/a?sig=b#c") == "https://host/a"


# Web


def test_a_file_is_fetched_and_named_by_its_bytes(web: "Web", tmp_path: Path) -> None:
    web.gives("/m/model.onnx", b"weights")
    got = sources.fetch(Location(uri=f"{web.url}/m/model.onnx"), tmp_path / "in", LOCAL)
    assert got.path == tmp_path / "in" / "model.onnx"
    assert got.path.read_bytes() == b"weights"
    assert (got.digest, got.size_bytes, dict(got.files)) == (sha(b"weights"), 7, {"model.onnx": sha(b"weights")})
    assert sources.resolve(Location(uri=f"{web.url}/m/model.onnx"), LOCAL) == (got.digest, 7)


def test_another_digest_than_required_is_refused(web: "Web", tmp_path: Path) -> None:
    web.gives("/model.onnx", b"weights")
    location = Location(uri=f"{web.url}/model.onnx", digest=sha(b"other"))
    with pytest.raises(InputError, match=sha(b"weights")) as caught:
        sources.fetch(location, tmp_path / "in", LOCAL)
    assert caught.value.reason == "SourceDigestMismatch"
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="SourceDigestMismatch"):
        sources.resolve(location, LOCAL)


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (404, "SourceNotFound"),
        (410, "SourceNotFound"),
        (401, "SourceAccessDenied"),
        (403, "SourceAccessDenied"),
        (500, "SourceUnreachable"),
        (503, "SourceUnreachable"),
        (429, "SourceUnreachable"),
    ],
)
def test_each_refusal_has_its_reason_and_may_pass(web: "Web", tmp_path: Path, status: int, why: str) -> None:
    web.says("/model.onnx", status)
    error = refusal(f"{web.url}/model.onnx?sig=abc", tmp_path)
    assert isinstance(error, StoreError)
    assert (error.reason, error.retriable) == (why, True)
    assert "sig=abc" not in str(error)


def test_a_fault_that_passes_is_ridden_out(web: "Web", tmp_path: Path) -> None:
    web.breaks_off("/model.onnx", b"weights", promised=7, times=2)
    assert sources.fetch(Location(uri=f"{web.url}/model.onnx"), tmp_path / "in", LOCAL).digest == sha(b"weights")


def test_a_body_that_ends_early_is_not_a_file(web: "Web", tmp_path: Path) -> None:
    web.breaks_off("/model.onnx", b"weights", promised=700)
    error = refusal(f"{web.url}/model.onnx", tmp_path)
    assert reason(error) == "SourceUnreachable"
    assert "broke off the connection" in str(error)


def test_a_server_that_hangs_is_left(web: "Web", tmp_path: Path) -> None:
    web.hangs("/model.onnx")
    error = refusal(f"{web.url}/model.onnx", tmp_path, LOCAL.model_copy(update={"timeout_seconds": 0.1}))
    assert reason(error) == "SourceUnreachable"
    assert "did not answer within 0.1 s" in str(error)


def test_a_body_that_stalls_is_left(web: "Web", tmp_path: Path) -> None:
    def stall(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "10")
        handler.end_headers()
        handler.wfile.write(b"half")
        handler.wfile.flush()
        web.release.wait(30)

    web.routes["/model.onnx"] = stall
    error = refusal(f"{web.url}/model.onnx", tmp_path, LOCAL.model_copy(update={"timeout_seconds": 0.1}))
    assert reason(error) == "SourceUnreachable"
    assert "stopped answering for 0.1 s" in str(error)


def test_nobody_listening_and_no_such_host_are_told_apart(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        assert "refused the connection" in str(refusal(f"http://127.0.0.1:{port}/x", tmp_path))
    assert "does not resolve" in str(refusal("https://nothing.invalid/x", tmp_path))


def test_redirects_are_followed_three_times(web: "Web", tmp_path: Path) -> None:
    for hop in range(3):
        web.says(f"/{hop}", 302, Location=f"/{hop + 1}")
    web.gives("/3", b"weights")
    assert sources.resolve(Location(uri=f"{web.url}/0"), LOCAL)[0] == sha(b"weights")
    web.says("/3", 302, Location="/0")
    error = refusal(f"{web.url}/0", tmp_path)
    assert reason(error) == "SourceUnreachable"
    assert "redirects more than 3 times" in str(error)


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://[fd00:ec2::254]/latest/",
        "http://[::ffff:169.254.169.254]/",
        "http://0.0.0.0/",
        "http://2852039166/",
        "ftp://host/x",
        "file:///etc/passwd",
    ],
)
def test_a_redirect_to_where_secrets_live_is_refused(web: "Web", tmp_path: Path, target: str) -> None:
    web.says("/model.onnx", 302, Location=target)
    error = refusal(f"{web.url}/model.onnx", tmp_path)
    assert reason(error) == "UnsafePath"


def test_a_name_that_resolves_to_a_metadata_address_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, web: "Web"
) -> None:
    # The name is fine; the socket's other end is not. Nothing may be sent to it.
    monkeypatch.setattr(transport, "_FORBIDDEN", (transport.ipaddress.ip_network("127.0.0.1/32"),))
    port = web.netloc.rpartition(":")[2]
    error = refusal(f"http://localhost:{port}/model.onnx", tmp_path)
    assert reason(error) == "UnsafePath"
    assert web.seen == []


def test_a_login_is_sent_to_its_own_host_only(
    web: "Web", elsewhere: "Web", tmp_path: Path, secret: Callable[..., Path]
) -> None:
    elsewhere.gives("/model.onnx", b"weights")
    web.says("/model.onnx", 302, Location=f"{elsewhere.url.replace('127.0.0.1', 'localhost')}/model.onnx")
    folder = secret(HTTP_BEARER_TOKEN="t0ken")
    assert sources.resolve(Location(uri=f"{web.url}/model.onnx"), LOCAL, folder)[0] == sha(b"weights")
    assert web.seen[0][2]["Authorization"] == "Bearer t0ken"
    assert "Authorization" not in elsewhere.seen[0][2]


def test_a_password_is_sent(web: "Web", secret: Callable[..., Path]) -> None:
    web.gives("/model.onnx", b"weights")
    folder = secret(HTTP_USERNAME="user", HTTP_PASSWORD="pass")
    sources.resolve(Location(uri=f"{web.url}/model.onnx"), LOCAL, folder)
    assert web.seen[0][2]["Authorization"] == "Basic dXNlcjpwYXNz"


def test_a_web_folder_is_refused(web: "Web", tmp_path: Path) -> None:
    error = refusal(f"{web.url}/models/", tmp_path)
    assert reason(error) == "UnsupportedScheme"
    assert "does not list folders" in str(error)


def test_more_bytes_than_allowed_are_not_taken(web: "Web", tmp_path: Path) -> None:
    web.gives("/model.onnx", b"x" * 1001)
    error = refusal(f"{web.url}/model.onnx", tmp_path, LOCAL.model_copy(update={"max_bytes": 1000}))
    assert reason(error) == "SourceTooLarge"
    assert "1000 bytes" in str(error)


# Secrets


def test_an_absent_or_empty_secret_is_said_to_be_missing(web: "Web", tmp_path: Path) -> None:
    (tmp_path / "mount").mkdir()
    for folder in (tmp_path / "mount", tmp_path / "absent"):
        assert reason(refusal(f"{web.url}/model.onnx", tmp_path, secret=folder)) == "SecretMissing"


@pytest.mark.parametrize(
    ("uri", "keys", "named"),
    [
        ("s3://models/m.onnx", {"token": "v4lue"}, "AWS_ACCESS_KEY_ID"),
        ("s3://models/m.onnx", {"AWS_ACCESS_KEY_ID": "v4lue"}, "AWS_SECRET_ACCESS_KEY"),
        ("gs://models/m.onnx", {"key.json": "v4lue"}, "GOOGLE_SERVICE_ACCOUNT"),
        ("https://host/m.onnx", {"HTTP_USERNAME": "v4lue"}, "HTTP_PASSWORD"),
        ("oci://host/m:1", {"username": "v4lue"}, ".dockerconfigjson"),
        ("oci://host/m:1", {"dockerconfigjson": "v4lue"}, "kubectl create secret docker-registry"),
    ],
)
def test_a_secret_with_the_wrong_keys_names_the_right_ones(
    tmp_path: Path, secret: Callable[..., Path], uri: str, keys: dict[str, str], named: str
) -> None:
    error = refusal(uri, tmp_path, secret=secret(**keys))
    assert reason(error) == "SecretMissing"
    assert named in str(error)
    assert "v4lue" not in str(error)


# Buckets


@pytest.fixture
def keys(bucket: "Bucket", secret: Callable[..., Path]) -> Path:
    return secret(
        AWS_ACCESS_KEY_ID="id",
        AWS_SECRET_ACCESS_KEY="k3y",
        AWS_REGION="eu-central-1",
        AWS_ENDPOINT_URL=bucket.url,
        AWS_ALLOW_HTTP="true",
    )


FOLDER = {
    "m/1/model.onnx": b"graph",
    "m/1/model.onnx_data": b"w" * 3_000_000,
    "m/1/sub/extra.bin": b"more",
    "m/1/model.py": b"import os",
    "m/1/config.pbtxt": b"",
    "m/1/model.pt": b"pickle",
    "m/10/model.onnx": b"neighbour",
}
TAKEN = ("model.onnx", "model.onnx_data", "sub/extra.bin")


@pytest.mark.parametrize("uri", ["s3://models/m/1/", "s3://models/m/1"])
def test_a_bucket_folder_gives_its_model_files_only(bucket: "Bucket", keys: Path, tmp_path: Path, uri: str) -> None:
    bucket.objects, bucket.signed = dict(FOLDER), True
    got = sources.fetch(Location(uri=uri), tmp_path / "in", LOCAL, keys)
    assert sorted(got.files) == sorted(TAKEN)
    assert got.path == tmp_path / "in"
    for name in TAKEN:
        assert (got.path / name).read_bytes() == FOLDER[f"m/1/{name}"]
    assert sources.resolve(Location(uri=uri), LOCAL, keys) == (got.digest, got.size_bytes)


def test_a_folders_digest_is_what_coreutils_say(bucket: "Bucket", keys: Path, tmp_path: Path) -> None:
    bucket.objects = dict(FOLDER)
    got = sources.fetch(Location(uri="s3://models/m/1/"), tmp_path / "in", LOCAL, keys)
    recipe = "find . -type f -printf '%P\\n' | LC_ALL=C sort | xargs sha256sum | sha256sum"
    said = subprocess.run(recipe, shell=True, cwd=got.path, capture_output=True, text=True, check=True)
    assert got.digest == "sha256:" + said.stdout.split()[0]


def test_one_object_is_a_file(bucket: "Bucket", keys: Path, tmp_path: Path) -> None:
    bucket.objects = dict(FOLDER)
    got = sources.fetch(Location(uri="s3://models/m/1/model.onnx"), tmp_path / "in", LOCAL, keys)
    assert (got.path.name, got.digest) == ("model.onnx", sha(b"graph"))


def test_a_public_bucket_needs_no_secret(bucket: "Bucket", secret: Callable[..., Path]) -> None:
    bucket.objects = dict(FOLDER)
    folder = secret(AWS_ENDPOINT_URL=bucket.url, AWS_ALLOW_HTTP="true")
    assert sources.resolve(Location(uri="s3://models/m/10/"), LOCAL, folder)[1] == len(b"neighbour")
    assert all("Authorization" not in headers for _, _, headers in bucket.seen)


@pytest.mark.parametrize(
    ("status", "why"), [(403, "SourceAccessDenied"), (503, "SourceUnreachable"), (404, "SourceNotFound")]
)
def test_a_buckets_refusals_have_their_reasons(
    bucket: "Bucket", keys: Path, tmp_path: Path, status: int, why: str
) -> None:
    bucket.failing = {"m/model.onnx": status}
    error = refusal("s3://models/m/model.onnx", tmp_path, secret=keys)
    assert isinstance(error, StoreError)
    assert (error.reason, error.retriable) == (why, True)
    assert "k3y" not in str(error)


def test_a_bucket_that_does_not_exist_is_not_found(bucket: "Bucket", keys: Path, tmp_path: Path) -> None:
    assert reason(refusal("s3://nothing/m/", tmp_path, secret=keys)) == "SourceNotFound"


def test_a_bucket_refused_by_its_credentials(bucket: "Bucket", secret: Callable[..., Path], tmp_path: Path) -> None:
    bucket.objects, bucket.signed = dict(FOLDER), True
    folder = secret(AWS_ENDPOINT_URL=bucket.url, AWS_ALLOW_HTTP="true")
    assert reason(refusal("s3://models/m/1/", tmp_path, secret=folder)) == "SourceAccessDenied"


def test_plain_http_to_a_bucket_is_asked_for(bucket: "Bucket", secret: Callable[..., Path], tmp_path: Path) -> None:
    folder = secret(AWS_ENDPOINT_URL=bucket.url, AWS_REGION="x")
    error = refusal("s3://models/m/1/", tmp_path, secret=folder)
    assert reason(error) == "UnsupportedScheme"
    assert "AWS_ALLOW_HTTP" in str(error)


def test_an_endpoint_on_a_metadata_address_is_refused(secret: Callable[..., Path], tmp_path: Path) -> None:
    folder = secret(AWS_ENDPOINT_URL="http://169.254.169.254", AWS_ALLOW_HTTP="true")
    assert reason(refusal("s3://models/m/1/", tmp_path, secret=folder)) == "UnsafePath"


def test_a_folder_without_a_model_is_refused(bucket: "Bucket", keys: Path, tmp_path: Path) -> None:
    bucket.objects = {"m/model.pt": b"pickle", "m/README.md": b""}
    error = refusal("s3://models/m/", tmp_path, secret=keys)
    assert reason(error) == "UnsupportedModel"
    assert "model.pt" in str(error)


def test_too_many_files_and_bytes_are_refused_before_any_is_read(bucket: "Bucket", keys: Path, tmp_path: Path) -> None:
    bucket.objects = {f"m/{n}.bin": b"" for n in range(sources.MAX_FILES + 1)}
    assert reason(refusal("s3://models/m/", tmp_path, secret=keys)) == "SourceTooLarge"
    bucket.objects = {"m/a.bin": b"x" * 600, "m/b.bin": b"x" * 600}
    bucket.seen.clear()
    small = LOCAL.model_copy(update={"max_bytes": 1000})
    assert reason(refusal("s3://models/m/", tmp_path, small, keys)) == "SourceTooLarge"
    assert not [path for _, path, _ in bucket.seen if path.startswith("/models/m/")]


def test_google_buckets_are_read_with_a_service_account(
    bucket: "Bucket", secret: Callable[..., Path], tmp_path: Path
) -> None:
    bucket.objects = dict(FOLDER)
    account = {
        "gcs_base_url": bucket.url,
        "disable_oauth": True,
        "client_email": "",
        "private_key": "",
        "private_key_id": "",
    }
    folder = secret(GOOGLE_SERVICE_ACCOUNT=json.dumps(account), GOOGLE_ALLOW_HTTP="true")
    got = sources.fetch(Location(uri="gs://models/m/1/"), tmp_path / "in", LOCAL, folder)
    assert sorted(got.files) == sorted(TAKEN)


def test_azure_containers_are_read(bucket: "Bucket", secret: Callable[..., Path], tmp_path: Path) -> None:
    bucket.objects = dict(FOLDER)
    folder = secret(
        AZURE_STORAGE_ACCOUNT_NAME="account",
        AZURE_STORAGE_ACCOUNT_KEY="a2V5",
        AZURE_STORAGE_ENDPOINT=bucket.url,
        AZURE_ALLOW_HTTP="true",
    )
    got = sources.fetch(Location(uri="az://models/m/1/model.onnx"), tmp_path / "in", LOCAL, folder)
    assert got.digest == sha(b"graph")


@pytest.mark.parametrize(
    ("uri", "keys", "named"),
    [
        ("gs://models/m.onnx", {"GOOGLE_SERVICE_ACCOUNT": "v4lue"}, "GOOGLE_SERVICE_ACCOUNT"),
        ("az://models/m.onnx", {"AZURE_STORAGE_ACCOUNT_KEY": "v4lue"}, "AZURE_STORAGE_ACCOUNT_NAME"),
        ("s3://models/m.onnx", {"AWS_ENDPOINT_URL": "v4lue"}, "AWS_ENDPOINT_URL"),
    ],
)
def test_values_that_make_no_login_are_told_by_their_keys(
    tmp_path: Path, secret: Callable[..., Path], uri: str, keys: dict[str, str], named: str
) -> None:
    error = refusal(uri, tmp_path, secret=secret(**keys))
    assert reason(error) == "SecretMissing"
    assert named in str(error)
    assert "v4lue" not in str(error)


@pytest.mark.parametrize("cloud", ["s3", "gs", "az"])
def test_a_buckets_name_is_a_name(tmp_path: Path, cloud: str) -> None:
    assert reason(refusal(f"{cloud}://b_\u00fc/m.onnx", tmp_path)) == "UnsafePath"


# Registries


@pytest.fixture
def pushed(registry: str, tmp_path: Path) -> tuple[Fetching, str, str]:
    """Fetching rules, ``oci://host/repository`` and digest of an artifact with two files."""
    (tmp_path / "a").write_bytes(b"graph")
    (tmp_path / "b").write_bytes(b"weights")
    store = open_store(Store(uri=f"oci://{registry}/source", namespace="n", insecure=True))
    files = {"model/model.onnx": tmp_path / "a", "model/model.bin": tmp_path / "b", "report.json": tmp_path / "a"}
    digest = store.push("k1", b"{}", files)
    fetching = LOCAL.model_copy(update={"insecure_registries": (registry,), "timeout_seconds": 5.0})
    return fetching, f"oci://{registry}/source/n", digest


def test_an_artifact_is_fetched_by_tag_and_by_digest(pushed: tuple[Fetching, str, str], tmp_path: Path) -> None:
    fetching, uri, digest = pushed
    for number, reference in enumerate((":key-k1", f"@{digest}")):
        got = sources.fetch(Location(uri=uri + reference), tmp_path / str(number), fetching)
        assert got.digest == digest
        assert sorted(got.files) == ["model/model.bin", "model/model.onnx"]
        assert (got.path / "model/model.onnx").read_bytes() == b"graph"
    assert sources.resolve(Location(uri=f"{uri}:key-k1"), fetching)[0] == digest


def test_an_unknown_tag_is_not_found(pushed: tuple[Fetching, str, str], tmp_path: Path) -> None:
    fetching, uri, _ = pushed
    assert reason(refusal(f"{uri}:other", tmp_path, fetching)) == "SourceNotFound"


def test_a_registry_without_tls_must_be_listed(pushed: tuple[Fetching, str, str], tmp_path: Path) -> None:
    _, uri, _ = pushed
    error = refusal(f"{uri}:key-k1", tmp_path)
    assert reason(error) == "SourceUnreachable"


def test_a_registry_login_is_used(guarded_registry: str, secret: Callable[..., Path], tmp_path: Path) -> None:
    fetching = LOCAL.model_copy(update={"insecure_registries": (guarded_registry,)})
    auth = {"auths": {guarded_registry: {"auth": "dXNlcjpzZWNyZXQ="}}}
    uri = f"oci://{guarded_registry}/absent:1"
    assert reason(refusal(uri, tmp_path, fetching)) == "SourceAccessDenied"
    assert reason(refusal(uri, tmp_path, fetching, secret(dockerconfigjson=json.dumps(auth)))) == "SourceNotFound"


# Volumes


@pytest.fixture
def claim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(paths, "PVC_DIR", str(tmp_path / "mnt"))
    root = tmp_path / "mnt" / "data"
    (root / "m" / "sub").mkdir(parents=True)
    (root / "lost+found").mkdir(mode=0)
    (root / "m" / "model.onnx").write_bytes(b"graph")
    (root / "m" / "sub" / "w.bin").write_bytes(b"weights")
    (root / "m" / "notes.txt").write_bytes(b"")
    return root


def test_a_volumes_folder_and_file_are_copied(claim: Path, tmp_path: Path) -> None:
    got = sources.fetch(Location(uri="pvc://data/m"), tmp_path / "in", LOCAL)
    assert sorted(got.files) == ["model.onnx", "sub/w.bin"]
    assert (got.path / "model.onnx").stat().st_ino != (claim / "m" / "model.onnx").stat().st_ino
    one = sources.fetch(Location(uri="pvc://data/m/model.onnx"), tmp_path / "one", LOCAL)
    assert (one.path.name, one.digest) == ("model.onnx", sha(b"graph"))
    everything = sources.fetch(Location(uri="pvc://data/"), tmp_path / "all", LOCAL)
    assert sorted(everything.files) == ["m/model.onnx", "m/sub/w.bin"]


@pytest.mark.parametrize("uri", ["pvc://data/absent", "pvc://other/", "pvc://data/m/model.onnx/"])
def test_what_is_not_on_the_volume_is_not_found(claim: Path, tmp_path: Path, uri: str) -> None:
    assert reason(refusal(uri, tmp_path)) == "SourceNotFound"


@pytest.mark.parametrize("kind", ["file link", "folder link", "hard link", "fifo", "link on the way"])
def test_a_volume_lends_nobody_elses_file(claim: Path, tmp_path: Path, kind: str) -> None:
    (tmp_path / "secret.onnx").write_bytes(b"not yours")
    uri = "pvc://data/m"
    match kind:
        case "file link":
            (claim / "m" / "x.onnx").symlink_to(tmp_path / "secret.onnx")
        case "folder link":
            (claim / "m" / "x").symlink_to(tmp_path)
        case "hard link":
            os.link(tmp_path / "secret.onnx", claim / "m" / "x.onnx")
        case "fifo":
            os.mkfifo(claim / "m" / "x.onnx")
        case _:
            (claim / "way").symlink_to(claim / "m")
            uri = "pvc://data/way/model.onnx"
    error = refusal(uri, tmp_path)
    assert reason(error) in ("UnsafePath", "SourceNotFound")
    assert reason(error) == "UnsafePath" or kind == "link on the way"


def test_the_command_line_reads_the_users_own_links(tmp_path: Path) -> None:
    (tmp_path / "real.onnx").write_bytes(b"graph")
    (tmp_path / "m odel.onnx").symlink_to("real.onnx")
    got = sources.fetch(Location(uri=f"file://{tmp_path}/m%20odel.onnx"), tmp_path / "in", LOCAL)
    assert got.path.read_bytes() == b"graph"
