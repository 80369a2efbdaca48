"""What is promised to callers, as numbers: the objectives that error budgets are made of."""

from dataclasses import dataclass

BUDGET_DAYS = 28
"""Over which a budget is counted. Prometheus has to keep as much, or it counts over what there is."""

FEWEST_BAD = 10
"""Of calls, within an alert's longest window. Fewer say little of a share: one of ten in a quiet hour wakes nobody."""

FAULTS = "INTERNAL|UNKNOWN|UNAVAILABLE|DEADLINE_EXCEEDED|DATA_LOSS"
"""Codes that are the fleet's fault.

A deadline that passes is one even where the caller set it (`x-polyphony-timeout`, gRPC): the metrics do not tell whose
it was, and to leave such calls out would hide that engines hang, where callers wait less long than a route allows.
A scheduler rejects at once what it cannot finish in time (RESOURCE_EXHAUSTED), so what passes its deadline was mostly
admitted.
"""

ASIDE = "RESOURCE_EXHAUSTED|CANCELLED"
"""Codes that say nothing of availability: shed with a delay to wait, or left by the caller. Shedding has an alert."""

PROBES = "GET /(healthz|readyz|metrics|docs.*|openapi.json)"
"""Calls of machines that look after the gateway, and of nobody else."""

AVAILABILITY = {
    "gateway": 0.995,
    "vision": 0.995,
    "speech": 0.995,
    "generation": 0.995,
    "retrieval": 0.999,
}
"""Share of the calls that were let in which the process answers. Retrieval answers in milliseconds and stands behind
every search, so that its share is the highest."""


@dataclass(frozen=True, slots=True)
class Latency:
    """How quickly the gateway answers a class of routes.

    Attributes:
        methods: The routes, as a pattern of the label `method`.
        seconds: One of the bounds of `servekit.ops.telemetry.SECONDS`.
        objective: The share of calls that end within it.
    """

    methods: str
    seconds: float
    objective: float

    @property
    def bound(self) -> str:
        """The bound as the label `le` has it."""
        return str(float(self.seconds))


LATENCY = {
    "chat": Latency("POST /v1/chat/completions|Chat", 30, 0.95),
    "audio": Latency("POST /v1/audio/.*", 60, 0.95),
    "reading": Latency("POST /v1/vision/.*", 10, 0.95),
    "retrieval": Latency("POST /v1/embeddings|POST /v1/vector_stores/.*/search", 1, 0.99),
    "indexing": Latency("POST /v1/vector_stores(/[{].*[}]/files)?", 60, 0.95),
    "records": Latency("(GET|DELETE) /v1/[a-z_]+(/[{].*[}])?(/files)?", 0.5, 0.99),
}
"""By the class's name. A stream is timed to its end; a refused call ends at once and counts as quick.

Files that go up and down (`POST /v1/files`, `GET /v1/files/{file_id}/content`) take as long as their size and the
caller's line: they have no such objective, only that of availability.
"""
