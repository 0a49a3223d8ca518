"""Files of a mounted volume (``pvc://claim/path``) or, for the CLI, of this machine (``file:///path``).

Whoever else mounts the volume may change it while it is read. So every step goes through an open folder and never
through a link: neither a symbolic link nor a second hard link can lend us a file that is not the volume's own. Files
are copied, so that what was hashed is what is used.
"""

import errno
import os
import stat
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

from modelwright.agent.locations import Place, unsafe
from modelwright.agent.manifest import CHUNK
from modelwright.agent.sources import MAX_FILES, Entry, Listing, denied, not_found, too_large, unreachable
from modelwright.contract import paths
from modelwright.errors import ModelwrightError

_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC  # without O_NONBLOCK a fifo would make us wait
_MAX_SEEN = 16 * MAX_FILES
"""Most files looked at, wanted or not."""


class VolumeSource:
    """A file or folder on a mounted file system."""

    def __init__(self, place: Place) -> None:
        """Open nothing yet. A ``file`` URI is the user's own machine, where links are followed."""
        self._place = place
        self._strict = place.scheme == "pvc"
        self._root = Path(paths.PVC_DIR) / place.host if self._strict else Path("/")
        self._parts = Path(place.path).parts
        self._base = self._parts

    def listing(self) -> Listing:
        """The file, or all files below the folder."""
        with self._opened(self._parts) as handle:
            found = os.fstat(handle)
            if stat.S_ISDIR(found.st_mode):
                return Listing(list(self._walk(handle)), folder=True)
        if self._place.folder:
            raise not_found(f"{self._place}: it is a file, not a folder")
        self._base = self._parts[:-1]
        return Listing([Entry(self._parts[-1], found.st_size)], folder=False)

    def chunks(self, entry: Entry) -> Iterator[bytes]:
        """Content of one file."""
        with self._opened((*self._base, *Path(entry.path).parts)) as handle:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode):
                raise self._irregular(entry.path)
            if self._strict and found.st_nlink > 1:
                raise unsafe(f"{entry.path} of {self._place} is a hard link to a file that may be someone else's.")
            while piece := os.read(handle, CHUNK):
                yield piece

    def _walk(self, handle: int) -> Iterator[Entry]:
        seen = 0
        for folder, folders, names, inside in os.fwalk(".", dir_fd=handle, onerror=_raise):
            if "lost+found" in folders:  # root's own, in every fresh ext4 volume
                folders.remove("lost+found")
            for name in (*folders, *names):
                found = os.stat(name, dir_fd=inside, follow_symlinks=not self._strict)
                path = Path(folder, name).as_posix()
                if stat.S_ISREG(found.st_mode):
                    yield Entry(path, found.st_size)
                elif not stat.S_ISDIR(found.st_mode):
                    raise self._irregular(path)
            seen += len(names)
            if seen > _MAX_SEEN:
                raise too_large(self._place, f"more than {_MAX_SEEN} files", f"{_MAX_SEEN} files")

    @contextmanager
    def _opened(self, parts: tuple[str, ...]) -> Generator[int]:
        """The file or folder below the root, opened one step at a time."""
        flags = _FLAGS | os.O_NOFOLLOW if self._strict else _FLAGS
        try:
            handle = os.open(self._root, _FLAGS)
            try:
                for part in parts:
                    step = os.open(part, flags, dir_fd=handle)
                    os.close(handle)
                    handle = step
                yield handle
            finally:
                os.close(handle)
        except ModelwrightError:
            raise
        except OSError as error:
            raise self._failure(error) from None

    def _failure(self, error: OSError) -> ModelwrightError:
        match error.errno:
            case errno.ENOENT | errno.ENOTDIR:
                return not_found(self._place)
            case errno.EACCES | errno.EPERM:
                return denied(self._place)
            case errno.ELOOP:
                return self._irregular(str(error.filename or self._place.path))
            case _:
                return unreachable(self._place, f"cannot be read: {error.strerror}")

    def _irregular(self, path: str) -> ModelwrightError:
        return unsafe(f"{path} of {self._place} is a link, a device or a pipe; copy the file itself (`cp -L`).")


def _raise(error: OSError) -> None:
    raise error
