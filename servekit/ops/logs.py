"""The log of a process: JSON lines with the request and the trace of each record.

A line is bounded, and has no content of requests: an error that may quote its request is logged by `log_text`, and of
an exception that is a bug only the frames and, where it cannot quote a request, the text.
"""

import json
import logging
import sys
import time
import traceback

from opentelemetry import trace

from servekit.context import current
from servekit.echo import MAX_NAME, cut, cut_bytes
from servekit.errors import ServeError, log_text
from servekit.ops.settings import ProcessSettings

MESSAGE_BYTES, EXCEPTION_BYTES = 3000, 4000  # of a line, which is shorter than 8 KiB
EXCEPTION_TEXT = 300  # characters
MAX_FRAMES, MAX_CAUSES = 12, 4
# Exceptions whose text describes the machine, a library or a device. That of others, such as a ValueError or a
# KeyError, may quote a request.
_DESCRIPTIVE = (OSError, RuntimeError, MemoryError, ImportError)
_DESCRIPTIVE_LIBRARY = "onnxruntime"


class _JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        context = current()
        span = trace.get_current_span().get_span_context()
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname,
            "process": self._process,
            "logger": record.name,
            "message": _bounded(record.getMessage(), MESSAGE_BYTES),
        }
        if context.request_id:
            line |= {"request_id": _bounded(context.request_id, MAX_NAME), "tenant": _bounded(context.tenant, MAX_NAME)}
        if span.is_valid:
            line |= {"trace_id": f"{span.trace_id:032x}", "span_id": f"{span.span_id:016x}"}
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = _bounded(_description(record.exc_info[1]), EXCEPTION_BYTES)
        return json.dumps(line, ensure_ascii=False)


def _bounded(text: str, limit: int) -> str:
    """As much of a text as takes `limit` bytes in JSON, where an escape takes up to six for one."""
    text = cut_bytes(text, limit)
    return text if len(json.dumps(text, ensure_ascii=False).encode()) <= limit + 2 else cut_bytes(text, limit // 6)


def _description(error: BaseException) -> str:
    """An exception and its causes, each with its last frames."""
    parts: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(parts) < MAX_CAUSES:
        parts.append(_headline(cause) + "\n" + "".join(traceback.format_tb(cause.__traceback__, -MAX_FRAMES)))
        cause = _cause(cause)
    return "caused by ".join(parts)


def _headline(error: BaseException) -> str:
    if isinstance(error, ServeError):
        return log_text(error)
    name = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
    if isinstance(error, _DESCRIPTIVE) or name.startswith(_DESCRIPTIVE_LIBRARY):
        return f"{name}: {cut(str(error), EXCEPTION_TEXT)}"
    return name


def _cause(error: BaseException) -> BaseException | None:
    if error.__cause__ is not None or error.__suppress_context__:
        return error.__cause__
    return error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error.__context__


def configure_logging(settings: ProcessSettings) -> None:
    """Log to stderr as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter(settings.process))
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs a line for each request
    logging.getLogger("uvicorn").setLevel(logging.WARNING)  # it logs the path and the query of each WebSocket
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # it warns of each malformed form
    logging.getLogger("asyncio").addFilter(_keep_first_line)
    logging.getLogger("grpc._cython.cygrpc").addFilter(_is_not_late_response)


def _keep_first_line(record: logging.LogRecord) -> bool:
    """Drop what asyncio adds to its message: the task, with the text of its exception, which may quote a request."""
    record.msg, record.args = record.getMessage().partition("\n")[0], ()
    return True


def _is_not_late_response(record: logging.LogRecord) -> bool:
    """Drop the traceback that gRPC logs for each response just after its caller's deadline, most of them under load."""
    return not str(record.msg).startswith("ExecuteBatchError")
