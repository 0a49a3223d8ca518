"""``python -m modelwright.optimizer [REQUEST_FILE] [--termination-log FILE]``: the optimize Job's entry point."""

import argparse
import sys
from pathlib import Path

from pydantic import ValidationError

from modelwright.contract import paths
from modelwright.contract.request import OptimizeRequest
from modelwright.contract.result import OptimizeResult
from modelwright.optimizer import answer, connect, job


def main(arguments: list[str] | None = None) -> int:
    """Run the request, write the result to the termination log, return the exit code of the contract."""
    options = parse_arguments(arguments)
    job.stop_on_sigterm()
    result = _answer(options.request)
    options.termination_log.write_bytes(answer.encode(result))
    failure = result.failure
    print(f"{failure.reason}: {failure.message} {failure.hint}" if failure else result.outcome, flush=True)  # noqa: T201
    return answer.exit_code(result)


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Paths of the request and of the termination log; what the pod mounts is the default."""
    parser = argparse.ArgumentParser(prog="python -m modelwright.optimizer", description=__doc__)
    parser.add_argument("request", nargs="?", type=Path, default=Path(paths.REQUEST_FILE))
    parser.add_argument("--termination-log", type=Path, default=Path(paths.TERMINATION_LOG))
    return parser.parse_args(arguments)


def _answer(path: Path) -> OptimizeResult:
    try:
        request = OptimizeRequest.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        return answer.fail("OptimizationFailed", f"The request cannot be read: {error}", "Report this as a bug.")
    return job.run(request, connect.ports(request, Path(paths.WORK_DIR)))


if __name__ == "__main__":
    sys.exit(main())
