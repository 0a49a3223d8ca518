"""The resolve Job: turns URIs into digests, so that the operator never opens a user's URI.

``python -m modelwright.agent.resolve`` reads a `ResolveRequest` and answers with a `ResolveResult`. A location that
has a digest already is taken at its word: whoever fetches it verifies it.
"""

import sys
from pathlib import Path

from modelwright.agent import answer, secrets, sources
from modelwright.contract import paths
from modelwright.contract.request import Fetching, Location, ResolveRequest
from modelwright.contract.result import ResolveResult


def main() -> int:
    """Resolve what the mounted request names.

    Returns:
        Exit code (see `modelwright.contract.result`).
    """
    return answer.give(_resolve, lambda failure: ResolveResult(failure=failure), "ResolveFailed")


def _resolve() -> ResolveResult:
    request = ResolveRequest.model_validate_json(Path(paths.REQUEST_FILE).read_bytes())
    source, size = _digest(request.source, request.fetching)
    calibration, _ = _digest(request.calibration, request.fetching)
    evaluation, _ = _digest(request.evaluation, request.fetching)
    return ResolveResult(source=source, calibration=calibration, evaluation=evaluation, size_bytes=size)


def _digest(location: Location | None, fetching: Fetching) -> tuple[str | None, int]:
    if location is None or location.digest is not None:
        return (location.digest if location else None), 0
    return sources.resolve(location, fetching, secrets.mounted(paths.SECRET_DIR))


if __name__ == "__main__":
    sys.exit(main())
