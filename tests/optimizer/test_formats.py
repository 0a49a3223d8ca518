"""A file is what its bytes say, and each refusal names the export that helps."""

import bz2
import gzip
import io
import lzma
import pickle
import tarfile
import zipfile
import zlib
from pathlib import Path

import pytest

from modelwright.errors import InputError
from modelwright.optimizer.intake import formats
from modelwright.optimizer.intake.files import find_model
from tests.optimizer import samples


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("data.pkl", pickle.dumps({"weight": 1}))
    return buffer.getvalue()


def tarred() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo("model.onnx")
        info.size = 4
        archive.addfile(info, io.BytesIO(b"\x08\x07\x12\x00"))
    return buffer.getvalue()


REFUSED = {
    "a pickle of protocol 5": (pickle.dumps({"a": 1}, protocol=5), "skl2onnx"),
    "a pickle of protocol 2": (pickle.dumps({"a": 1}, protocol=2), "skl2onnx"),
    "a pickle of protocol 0": (pickle.dumps([1], protocol=0), "skl2onnx"),
    "a PyTorch zip": (zipped(), "torch.onnx.export"),
    "a Keras HDF5 file": (b"\x89HDF\r\n\x1a\n" + bytes(64), "model.export"),
    "a joblib zlib stream": (zlib.compress(b"x" * 100), "skl2onnx"),
    "a joblib bzip2 stream": (bz2.compress(b"x" * 100), "skl2onnx"),
    "a joblib xz stream": (lzma.compress(b"x" * 100), "skl2onnx"),
    "a gzip archive": (gzip.compress(b"x" * 100), "Unpack"),
    "a tar archive": (tarred(), "Unpack"),
    "a native library": (b"\x7fELF" + bytes(64), "ONNX"),
    "a TensorRT plan": (b"ftrt" + bytes(64), "ONNX"),
    "a TFLite model": (b"\x1c\x00\x00\x00TFL3" + bytes(64), "tf2onnx"),
    "safetensors": ((64).to_bytes(8, "little") + b'{"weight":{"dtype":"F32"}}', "torch.onnx.export"),
    "OpenVINO IR": (b'<?xml version="1.0"?><net name="m"/>', "OpenVINO"),
    "Python source": (b"import os\nos.system('id')\n", "ONNX"),
    "a Git LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git lfs pull"),
    "random bytes": (bytes(range(200, 256)), "ONNX"),
    "nothing": (b"", "ONNX"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("disguise", ["model.onnx", "model.bin"])
def test_whatever_is_not_onnx_is_refused_with_its_remedy(name: str, disguise: str, tmp_path: Path) -> None:
    data, remedy = REFUSED[name]
    (tmp_path / disguise).write_bytes(data)
    with pytest.raises(InputError) as caught:
        find_model(tmp_path / disguise)
    assert caught.value.reason == "UnsupportedModel"
    assert remedy in caught.value.hint


def test_onnx_is_recognized_whatever_its_name(tmp_path: Path) -> None:
    path = samples.write(samples.mlp(8, 1), tmp_path / "weights.bin")
    assert formats.sniff(path) is formats.ONNX
    assert find_model(path) == path


def test_a_saved_model_is_not_taken_for_onnx(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"\x08\x01\x12\x02\x0a\x00")
    with pytest.raises(InputError, match="SavedModel"):
        find_model(tmp_path / "saved_model.pb")


class TestFolders:
    def test_the_one_onnx_file_is_found_among_whatever_else_lies_there(self, tmp_path: Path) -> None:
        model = samples.write(samples.mlp(8, 1), tmp_path / "onnx" / "net.onnx")
        (tmp_path / "pytorch_model.bin").write_bytes(zipped())
        (tmp_path / "model.py").write_text("raise SystemExit")
        (tmp_path / "config.pbtxt").write_text("backend: 'python'")
        assert find_model(tmp_path) == model

    def test_model_onnx_wins_among_several(self, tmp_path: Path) -> None:
        samples.write(samples.mlp(8, 1), tmp_path / "model_fp16.onnx")
        model = samples.write(samples.mlp(8, 1), tmp_path / "model.onnx")
        assert find_model(tmp_path) == model

    def test_several_without_a_model_onnx_are_refused_by_name(self, tmp_path: Path) -> None:
        samples.write(samples.mlp(8, 1), tmp_path / "a.onnx")
        samples.write(samples.mlp(8, 1), tmp_path / "b.onnx")
        with pytest.raises(InputError, match=r"a\.onnx, b\.onnx"):
            find_model(tmp_path)

    def test_a_folder_of_pickles_gets_the_remedy_for_them(self, tmp_path: Path) -> None:
        (tmp_path / "pytorch_model.bin").write_bytes(zipped())
        with pytest.raises(InputError) as caught:
            find_model(tmp_path)
        assert "torch.onnx.export" in caught.value.hint

    def test_an_empty_folder_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="no model file"):
            find_model(tmp_path)


class TestLinks:
    @pytest.fixture
    def outside(self, tmp_path: Path) -> Path:
        return samples.write(samples.mlp(8, 1), tmp_path / "outside" / "secret.onnx")

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        folder = tmp_path / "source"
        folder.mkdir()
        return folder

    def test_a_symbolic_link_is_refused(self, outside: Path, source: Path) -> None:
        (source / "model.onnx").symlink_to(outside)
        with pytest.raises(InputError) as caught:
            find_model(source)
        assert caught.value.reason == "UnsafePath"

    def test_a_hard_link_is_refused(self, outside: Path, source: Path) -> None:
        (source / "model.onnx").hardlink_to(outside)
        with pytest.raises(InputError, match="hard link"):
            find_model(source)

    def test_a_link_to_a_folder_is_refused(self, outside: Path, source: Path) -> None:
        samples.write(samples.mlp(8, 1), source / "model.onnx")
        (source / "weights").symlink_to(outside.parent)
        with pytest.raises(InputError, match="symbolic link"):
            find_model(source)

    def test_a_fifo_is_refused_and_not_waited_for(self, source: Path) -> None:
        import os  # noqa: PLC0415

        os.mkfifo(source / "model.onnx")
        with pytest.raises(InputError, match="not a regular file"):
            find_model(source)
