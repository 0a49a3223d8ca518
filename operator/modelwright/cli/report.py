"""``modelwright report``: what a run found, before and after, and why each candidate was not taken."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from modelwright.cli.tables import show_report

REPORT = "report.json"


def report(
    place: Annotated[Path, typer.Argument(help="A report.json, or a folder that `modelwright optimize` wrote.")],
) -> None:
    """Print a report as tables."""
    path = place / REPORT if place.is_dir() else place
    try:
        show_report(path.read_bytes(), Console())
    except OSError as error:
        typer.echo(f"{path} cannot be read: {error.strerror}", err=True)
        raise typer.Exit(2) from error
    except (ValueError, KeyError) as error:
        typer.echo(f"{path} is no report: {error}", err=True)
        raise typer.Exit(2) from error
