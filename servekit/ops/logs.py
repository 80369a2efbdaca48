"""The log of a process: one JSON object a line, with the request and the trace that it belongs to."""

import json
import logging
import sys
import time

from opentelemetry import trace

from servekit.ops.settings import ProcessSettings
from servekit.rpc.context import current


class _JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        call = current()
        span = trace.get_current_span().get_span_context()
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname,
            "process": self._process,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if call.request_id:
            line |= {"request_id": call.request_id, "tenant": call.tenant}
        if span.is_valid:
            line |= {"trace_id": f"{span.trace_id:032x}", "span_id": f"{span.span_id:016x}"}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def configure_logging(settings: ProcessSettings) -> None:
    """Send every log line of the process to stderr as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter(settings.process))
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it says a line a request
    logging.getLogger("grpc._cython.cygrpc").addFilter(_is_no_late_answer)


def _is_no_late_answer(record: logging.LogRecord) -> bool:
    """gRPC logs a traceback for each answer that comes just after its caller's deadline: most when time is least."""
    return not str(record.msg).startswith("ExecuteBatchError")
