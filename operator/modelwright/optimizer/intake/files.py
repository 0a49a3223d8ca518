"""The fetched files: which one is the model, and that none reaches outside its folder.

Runs in the Job's own process and reads only the first bytes of files; parsing is the sandbox's business.
"""

import os
import stat
from pathlib import Path
from typing import Final

from modelwright.errors import InputError
from modelwright.optimizer.intake import formats

MAX_FILES: Final = 10_000


def find_model(fetched: Path) -> Path:
    """The one ONNX file of a source.

    Args:
        fetched: A file, or a folder as it was fetched.

    Raises:
        InputError: UnsafePath for links and special files, UnsupportedModel if there is no ONNX file or more than one.
    """
    files = [fetched] if not fetched.is_dir() else _walk(fetched)
    for file in files:
        require_plain(file, _shown(file, fetched))
    if not fetched.is_dir():
        formats.require_onnx(fetched, fetched.name)
        return fetched
    return _pick(files, fetched)


def require_plain(path: Path, shown: str) -> None:
    """Refuse links and special files.

    A hard link is refused too: ONNX Runtime follows one to any file of the same volume.

    Raises:
        InputError: UnsafePath.
    """
    info = os.lstat(path)
    if stat.S_ISLNK(info.st_mode):
        raise InputError("UnsafePath", f"{shown} is a symbolic link.", "Upload the file itself.")
    if not stat.S_ISREG(info.st_mode):
        raise InputError("UnsafePath", f"{shown} is not a regular file.", "Upload regular files only.")
    if info.st_nlink > 1:
        raise InputError("UnsafePath", f"{shown} is a hard link.", "Upload a copy of the file.")


def _walk(folder: Path) -> list[Path]:
    found: list[Path] = []
    for parent, folders, names in os.walk(folder, followlinks=False):
        for name in folders:
            if (Path(parent) / name).is_symlink():
                raise InputError(
                    "UnsafePath", f"{name} is a symbolic link to a folder.", "Upload the files themselves."
                )
        found += [Path(parent) / name for name in names]
        if len(found) > MAX_FILES:
            raise InputError("UnsupportedModel", f"The source has more than {MAX_FILES} files.", "Point at one model.")
    return sorted(found)


def _pick(files: list[Path], root: Path) -> Path:
    named = [file for file in files if file.suffix == ".onnx"]
    candidates = named or [file for file in files if file.suffix not in formats.INERT_SUFFIXES]
    if not candidates:
        raise InputError("UnsupportedModel", "The source has no model file.", formats.PLAIN_EXPORT)
    if len(candidates) > 1:
        candidates = [file for file in candidates if file.name == "model.onnx"] or candidates
    if len(candidates) > 1 and not named:
        candidates = [file for file in candidates if formats.sniff(file) is formats.ONNX] or candidates[:1]
    if len(candidates) > 1:
        names = ", ".join(_shown(file, root) for file in candidates[:3])
        raise InputError(
            "UnsupportedModel",
            f"{len(candidates)} ONNX files: {names}.",
            "Name one of them in spec.model.uri.",
        )
    formats.require_onnx(candidates[0], _shown(candidates[0], root))
    return candidates[0]


def _shown(file: Path, root: Path) -> str:
    return file.name if file == root else file.relative_to(root).as_posix()
