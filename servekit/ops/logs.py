"""The log of a process: JSON lines with the request and the trace of each record."""

import json
import logging
import sys
import time

from opentelemetry import trace

from servekit.context import current
from servekit.ops.settings import ProcessSettings


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
            "message": record.getMessage(),
        }
        if context.request_id:
            line |= {"request_id": context.request_id, "tenant": context.tenant}
        if span.is_valid:
            line |= {"trace_id": f"{span.trace_id:032x}", "span_id": f"{span.span_id:016x}"}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def configure_logging(settings: ProcessSettings) -> None:
    """Log to stderr as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter(settings.process))
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs a line for each request
    logging.getLogger("grpc._cython.cygrpc").addFilter(_is_not_late_response)


def _is_not_late_response(record: logging.LogRecord) -> bool:
    """Drop the traceback that gRPC logs for each response just after its caller's deadline, most of them under load."""
    return not str(record.msg).startswith("ExecuteBatchError")
