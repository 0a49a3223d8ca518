"""``modelwright``: the application that the commands register with."""

from typing import Annotated

import typer

from modelwright import __version__
from modelwright.cli.optimize import optimize
from modelwright.cli.report import report

app = typer.Typer(
    name="modelwright",
    help="Optimize a trained model, prove it, serve it on Triton.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command()(optimize)
app.command()(report)


@app.callback(invoke_without_command=True)
def options(*, version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    """Optimize a trained model, prove it, serve it on Triton."""
    if version:
        typer.echo(__version__)
        raise typer.Exit
