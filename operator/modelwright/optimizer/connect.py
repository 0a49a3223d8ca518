"""The real ports of a run: the agents' fetchers and stores, with the Secrets that are mounted."""

from pathlib import Path

from modelwright.contract import paths
from modelwright.contract.request import Fetching, Location, OptimizeRequest
from modelwright.optimizer.ports import Fetched, Ports, Store


def ports(request: OptimizeRequest, folder: Path) -> Ports:
    """Ports of a request; nothing is contacted yet.

    Args:
        request: Names the store.
        folder: Scratch space of the run.
    """

    def open_store() -> Store:
        from modelwright.agent.store import open_store as open_real  # noqa: PLC0415 - after SIGTERM is handled

        return open_real(request.store, _mounted(paths.STORE_SECRET_DIR))

    def fetch(location: Location, dest: Path, fetching: Fetching, /) -> Fetched:
        from modelwright.agent.sources import fetch as fetch_real  # noqa: PLC0415 - a reused key fetches nothing

        return fetch_real(location, dest, fetching, _mounted(paths.SECRET_DIR))

    return Ports(open_store=open_store, fetch=fetch, folder=folder)


def _mounted(folder: str) -> Path | None:
    return Path(folder) if Path(folder).is_dir() else None
