"""Logs as JSON lines: an event's name and fields. Request id, trace id, tenant and agent come from the context."""

import logging
import sys
from contextvars import ContextVar, Token
from datetime import UTC, datetime
from typing import Final

import msgspec

_CONTEXT: ContextVar[dict[str, object]] = ContextVar("log_context")
_OUR_FIELDS: Final = "fields"


class Logger:
    """``log.info("agent_offline", agent=…)``: the event's name first, then what a reader would filter by."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, event: str, **fields: object) -> None:
        self._logger.debug(event, extra={_OUR_FIELDS: fields})

    def info(self, event: str, **fields: object) -> None:
        self._logger.info(event, extra={_OUR_FIELDS: fields})

    def warning(self, event: str, **fields: object) -> None:
        self._logger.warning(event, extra={_OUR_FIELDS: fields})

    def error(self, event: str, **fields: object) -> None:
        self._logger.error(event, extra={_OUR_FIELDS: fields})

    def exception(self, event: str, **fields: object) -> None:
        """With the traceback of the exception that is being handled."""
        self._logger.exception(event, extra={_OUR_FIELDS: fields})


def logger(name: str) -> Logger:
    return Logger(name)


class Bound:
    """Fields for every line logged inside; the dict that it gives may be added to. Small: a held poll keeps one."""

    __slots__ = ("_fields", "_token")

    def __init__(self, fields: dict[str, object]) -> None:
        self._fields = fields
        self._token: Token[dict[str, object]] | None = None

    def __enter__(self) -> dict[str, object]:
        context = {**_CONTEXT.get({}), **self._fields}
        self._token = _CONTEXT.set(context)
        return context

    def __exit__(self, *_: object) -> None:
        assert self._token is not None
        _CONTEXT.reset(self._token)


def bound(**fields: object) -> Bound:
    return Bound(fields)


def context() -> dict[str, object]:
    return _CONTEXT.get({})


class _JsonLines(logging.Formatter):
    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "service": self._service,
            "event": record.getMessage(),
            **context(),
            **getattr(record, _OUR_FIELDS, {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode()


def configure(*, service: str, level: str) -> None:
    """Everything this process logs becomes JSON lines on stdout."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_JsonLines(service))
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    logging.getLogger("uvicorn.access").disabled = True
