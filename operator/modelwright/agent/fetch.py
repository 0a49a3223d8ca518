"""The init container of a serving pod: lays an artifact down as a Triton model repository.

``python -m modelwright.agent.fetch`` reads a `FetchRequest`, pulls the artifact by digest and leaves::

    /models/<model>/config.pbtxt          rendered by the operator
    /models/<model>/1/…                   the weights
    /opt/modelwright/probe.py             the start-up probe
    /opt/modelwright/golden.json          what it replays

Everything is verified before it takes its name. A failure is left as the termination message.
"""

import json
import shutil
import sys
from pathlib import Path

from modelwright.agent import answer, secrets
from modelwright.agent import probe as probe_module
from modelwright.agent.locations import is_safe_relative
from modelwright.agent.store import corrupt, new_folder, open_store
from modelwright.contract import paths
from modelwright.contract.artifact import Golden, Recommendation
from modelwright.contract.request import FetchRequest
from modelwright.errors import InputError

CPU_INFO = Path("/proc/cpuinfo")
CONFIG_NAME = "config.pbtxt"
VERSION = "1"


def main() -> int:
    """Fetch what the mounted request names.

    Returns:
        Exit code (see `modelwright.contract.result`).
    """
    return answer.give(_fetch, lambda failure: failure, "ArtifactFetchFailed")


def _fetch() -> None:
    request = FetchRequest.model_validate_json(Path(paths.REQUEST_FILE).read_bytes())
    if not is_safe_relative(request.model) or "/" in request.model:
        raise InputError("ArtifactFetchFailed", f"{request.model!r} cannot be the name of a folder.")
    store = open_store(request.store, secrets.mounted(paths.STORE_SECRET_DIR), timeout=request.timeout_seconds)
    recommendation = Recommendation.model_validate_json(store.read_config(request.digest))
    check_cpu(recommendation.isa, CPU_INFO.read_text())
    repository = Path(paths.REPOSITORY_DIR)
    scratch = repository / ".artifact"
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        store.pull(request.digest, scratch)
        _lay_down_probe(request.model, scratch)
        _lay_down_model(repository / request.model, scratch / "model", recommendation)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def check_cpu(needed: tuple[str, ...], cpu_info: str) -> None:
    """Refuse a node that lacks what the artifact was measured with.

    Args:
        needed: CPU features, as the kernel calls them.
        cpu_info: Content of ``/proc/cpuinfo``.

    Raises:
        InputError: HardwareMismatch, naming the missing features.
    """
    facts = dict(_fact(line) for line in cpu_info.splitlines() if ":" in line)
    has = set(facts.get("flags", facts.get("Features", "")).split())
    missing = [feature for feature in needed if feature.lower().replace(".", "_") not in has]
    if missing:
        raise InputError(
            "HardwareMismatch",
            f"The artifact was measured with the CPU features {', '.join(needed)}; "
            f"this node ({facts.get('model name', 'CPU unknown')}) lacks {', '.join(missing)}.",
            "Keep the pool to such nodes with its nodeSelector, or give this hardware a pool of its own.",
        )


def _fact(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip(), value.strip()


def _lay_down_model(target: Path, weights: Path, recommendation: Recommendation) -> None:
    absent = [name for name in recommendation.files if not (weights / name).is_file()]
    if absent or not recommendation.files:
        raise corrupt(f"The artifact names the files {list(recommendation.files)} but lacks {absent}.")
    _remove(target)
    with new_folder(target) as folder:
        weights.rename(folder / VERSION)
        shutil.copyfile(Path(paths.CONFIG_DIR) / CONFIG_NAME, folder / CONFIG_NAME)
        _open_to_all(folder)


def _lay_down_probe(model: str, artifact: Path) -> None:
    """Put the probe where Triton's container sees it, with the model's name, which it has from nowhere else."""
    golden = Golden.model_validate_json((artifact / "golden.json").read_bytes())
    content = {"golden.json": json.dumps({"model": model, **golden.model_dump(by_alias=True)})}
    content["probe.py"] = Path(probe_module.__file__).read_text()
    for name, text in content.items():
        partial = Path(paths.PROBE_DIR, f".{name}")
        partial.write_text(text)
        partial.chmod(0o644)
        partial.rename(partial.with_name(name))


def _open_to_all(folder: Path) -> None:
    """Triton may run as another user than we do."""
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def _remove(target: Path) -> None:
    """A pod whose sandbox was made anew runs its init containers again over what they left."""
    if target.exists():
        shutil.rmtree(target)


if __name__ == "__main__":
    sys.exit(main())
