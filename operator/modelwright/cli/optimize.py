"""``modelwright optimize``: the Job's own code on this machine, with the report at the end."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from modelwright.agent.sources import resolve
from modelwright.agent.store import ArtifactStore, open_store
from modelwright.api.model import ModelSpec, Serving
from modelwright.cli import request as requests
from modelwright.cli.tables import show_report
from modelwright.contract.request import OptimizeRequest
from modelwright.contract.result import EXIT_TERMINAL, OptimizeResult
from modelwright.errors import InputError, StoreError
from modelwright.render.triton import render_config

REPORT = "report.json"


def optimize(
    model: Annotated[Path, typer.Argument(help="YAML of an OptimizedModel; paths in it may be relative to it.")],
    out: Annotated[Path, typer.Option(help="Folder for the store, the Triton repository and the report.")] = Path(
        "modelwright-out"
    ),
    *,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress lines.")] = False,
) -> None:
    """Optimize a model here, without a cluster: a ready Triton model repository and a report.

    Exits with 0 when there is an artifact, 10 when there can be none, 11 when it may work later.
    """
    console = Console(stderr=True)
    try:
        name, spec = requests.read_model(model)
        asked = _resolve(name, spec, out.resolve())
        result = _run(asked, console, quiet=quiet)
        if result.digest is not None:
            _lay_down(asked, result.digest, result, spec.serving, out)
    except (InputError, StoreError) as error:
        console.print(f"[red]{error.reason}[/]: {error.message} {error.hint}", highlight=False)
        raise typer.Exit(EXIT_TERMINAL) from error
    _finish(result, out, console)


def _resolve(name: str, spec: ModelSpec, out: Path) -> OptimizeRequest:
    """Digests first: they are the identity of the work, so that a second call finds the first one's artifact."""
    wanted = requests.location_request(spec)
    places = {"source": wanted.source, "calibration": wanted.calibration, "evaluation": wanted.evaluation}
    digests = {part: resolve(place, wanted.fetching)[0] for part, place in places.items() if place is not None}
    return requests.optimize_request(name, spec, digests, out / "store")


def _run(asked: OptimizeRequest, console: Console, *, quiet: bool) -> OptimizeResult:
    from modelwright.optimizer import connect, job  # noqa: PLC0415 - other commands need none of it
    from modelwright.optimizer.progress import STAGES, Event  # noqa: PLC0415

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with tempfile.TemporaryDirectory(prefix="modelwright-") as work, Progress(*columns, console=console) as bar:
        line = bar.add_task("start", total=len(STAGES))

        def listen(event: Event) -> None:
            bar.update(line, description=event.stage, completed=STAGES.index(event.stage))
            if not quiet:
                bar.console.print(f"{event.stage:<9} {event.text}", highlight=False, markup=False)

        return job.run(asked, connect.ports(asked, Path(work)), listen)


def _lay_down(asked: OptimizeRequest, digest: str, result: OptimizeResult, serving: Serving, out: Path) -> None:
    """The artifact as a Triton model repository, and its report beside it."""
    store: ArtifactStore = open_store(asked.store)
    place = out / "repository" / asked.model
    version = place / "1"
    version.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out) as scratch:
        pulled = Path(scratch) / "artifact"
        store.pull(digest, pulled)
        for old in version.iterdir():
            old.unlink()
        for file in sorted((pulled / "model").iterdir()):
            file.replace(version / file.name)
        (pulled / REPORT).replace(out / REPORT)
    assert result.recommendation is not None
    (place / "config.pbtxt").write_text(render_config(asked.model, result.recommendation, serving), encoding="utf-8")


def _finish(result: OptimizeResult, out: Path, console: Console) -> None:
    from modelwright.optimizer.answer import exit_code  # noqa: PLC0415 - other commands need none of it

    if result.failure is not None:
        console.print(
            f"[red]{result.failure.reason}[/]: {result.failure.message} {result.failure.hint}", highlight=False
        )
    else:
        show_report((out / REPORT).read_bytes(), Console())
        console.print(f"Triton model repository: {out / 'repository'}", highlight=False)
    raise typer.Exit(exit_code(result))
