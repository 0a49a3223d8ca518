"""Instants as status writes them. `now` is always handed in."""

from datetime import UTC, datetime, timedelta

FORMAT = "%Y-%m-%dT%H:%M:%SZ"


def stamp(now: datetime) -> str:
    """`now` in RFC 3339, to the second, as Kubernetes writes times."""
    return now.astimezone(UTC).strftime(FORMAT)


def parsed(text: str) -> datetime | None:
    """The instant that `text` names; None if it names none."""
    try:
        return datetime.strptime(text, FORMAT).replace(tzinfo=UTC)
    except ValueError:
        return None


def after(text: str, seconds: float) -> datetime | None:
    """`seconds` after the instant that `text` names."""
    start = parsed(text)
    return start + timedelta(seconds=seconds) if start else None


def seconds_until(moment: datetime | None, now: datetime) -> float:
    """Seconds from `now` until `moment`; 0 if it has passed or is not known."""
    return max(0.0, (moment - now).total_seconds()) if moment else 0.0
