"""Service level objectives, from which the error budgets follow."""

from dataclasses import dataclass

BUDGET_DAYS = 28
"""Period of an error budget. With a shorter retention in Prometheus, the budget covers the retention only."""

MIN_BAD_REQUESTS = 10
"""Fewest bad requests within an alert's longest window: with fewer, the ratio of a quiet hour says little."""

SERVER_ERRORS = "INTERNAL|UNKNOWN|UNAVAILABLE|DEADLINE_EXCEEDED|DATA_LOSS"
"""Status codes that count as errors of the fleet.

DEADLINE_EXCEEDED is one of them even where the caller set the deadline (`x-polyphony-timeout`, gRPC): the metrics do
not tell who set it, and without it hanging engines would stay unseen where callers wait less long than a route allows.
A scheduler rejects at once what it cannot finish in time (RESOURCE_EXHAUSTED), so that most requests that exceed their
deadline had been admitted.
"""

EXCLUDED = "RESOURCE_EXHAUSTED|CANCELLED"
"""Status codes that availability does not count: rejected with a retry delay, or cancelled by the caller. Rejections
have an alert of their own."""

PROBES = "GET /(healthz|readyz|metrics|docs.*|openapi.json)"
"""Routes that probes and monitoring call, not applications."""

AVAILABILITY = {
    "gateway": 0.995,
    "vision": 0.995,
    "speech": 0.995,
    "generation": 0.995,
    "retrieval": 0.999,
}
"""Objective of each process: share of the admitted requests that succeed. Retrieval has the highest, since it answers
in milliseconds and every search depends on it."""


@dataclass(frozen=True, slots=True)
class Latency:
    """The latency objective of a class of routes.

    Attributes:
        methods: A regular expression that matches the label `method` of the routes.
        seconds: The bound, one of `servekit.ops.telemetry.SECONDS`.
        objective: The share of requests that end within the bound.
    """

    methods: str
    seconds: float
    objective: float

    @property
    def bound(self) -> str:
        """The bound as a value of the label `le`."""
        return str(float(self.seconds))


LATENCY = {
    "chat": Latency("POST /v1/chat/completions|Chat", 30, 0.95),
    "audio": Latency("POST /v1/audio/.*", 60, 0.95),
    "reading": Latency("POST /v1/vision/.*", 10, 0.95),
    "retrieval": Latency("POST /v1/embeddings|POST /v1/vector_stores/.*/search", 1, 0.99),
    "indexing": Latency("POST /v1/vector_stores(/[{].*[}]/files)?", 60, 0.95),
    "records": Latency("(GET|DELETE) /v1/[a-z_]+(/[{].*[}])?(/files)?", 0.5, 0.99),
}
"""Latency objectives by the name of the class. A stream is timed to its end; a rejected request ends at once and counts
as fast.

Uploads and downloads (`POST /v1/files`, `GET /v1/files/{file_id}/content`) have no latency objective, since their time
depends on the size of the file and on the caller's network.
"""
