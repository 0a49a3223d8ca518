"""Logs: one line per record, as text or JSON, with the model they are about and no secret in them."""

import json
import logging
import re
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

from modelwright.cluster.kinds import Key

_subject: ContextVar[Key | None] = ContextVar("subject", default=None)

_SECRETS = (
    re.compile(r"(?i)(authorization\W+(?:bearer|basic)\s+)[^\s\"',}]+"),
    re.compile(r"(?i)(\bbearer\s+)[A-Za-z0-9._~+/-]{16,}=*"),
    re.compile(r"(?i)([?&](?:x-amz-signature|x-amz-credential|x-amz-security-token|sig|token|signature)=)[^\s&\"']+"),
    re.compile(r"(://[^\s/:@]+:)[^\s/@]+(?=@)"),
    re.compile(r"(?i)(\"?(?:password|secret_?access_?key|client_?secret)\"?\s*[:=]\s*\"?)[^\s\",}]+"),
)


def redacted(text: str) -> str:
    """`text` without what looks like a credential."""
    for pattern in _SECRETS:
        text = pattern.sub(r"\1***", text)
    return text


@contextmanager
def speaking_of(key: Key) -> Generator[None]:
    """Whatever is logged within is about this model."""
    token = _subject.set(key)
    try:
        yield
    finally:
        _subject.reset(token)


class TextFormatter(logging.Formatter):
    """``time level logger [model] message``."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and the traceback if there is one."""
        subject = _subject.get()
        about = f" [{subject}]" if subject else ""
        line = f"{_time(record)} {record.levelname} {record.name}{about} {record.getMessage()}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return redacted(line)


class JsonFormatter(logging.Formatter):
    """One JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        subject = _subject.get()
        entry = {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "message": redacted(record.getMessage()),
        }
        if subject:
            entry["namespace"], entry["name"] = subject
        if record.exc_info:
            entry["traceback"] = redacted(self.formatException(record.exc_info))
        return json.dumps(entry, ensure_ascii=False)


def configure(form: str, level: str) -> None:
    """Send all logs to standard error in that form."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # kopf tells of every event it handles; aiohttp of every probe.
    logging.getLogger("kopf").setLevel(max(logging.WARNING, logging.getLogger().level))
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
