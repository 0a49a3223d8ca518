"""What a run says while it works. The Job prints it, the CLI draws a bar."""

from collections.abc import Callable
from dataclasses import dataclass

STAGES = ("intake", "data", "baseline", "search", "gate", "serving", "package")


@dataclass(frozen=True)
class Event:
    """One line of progress.

    Attributes:
        stage: One of `STAGES`.
        text: With numbers.
    """

    stage: str
    text: str


Listener = Callable[[Event], None]


def print_event(event: Event) -> None:
    """One line on standard output, at once: whoever follows the log sees it."""
    print(f"{event.stage:<9}{event.text}", flush=True)  # noqa: T201 - the Job's log
