"""The records of voices and anomaly detectors: the port, and its implementations, chosen by the URL's scheme.

The bytes that a record refers to are in the object store: see `blob_records`.
"""

from typing import Any, Protocol, cast

from servekit.database.schemes import open_by_scheme
from servekit.echo import cut
from servekit.errors import AlreadyExists, FailedPrecondition, NotFound

OPENERS = {
    "": "services.speech.records.postgres:open_records",  # no database: every call is an error that names the setting
    "memory": "services.speech.records.memory:MemoryRecordTable",
    "postgresql": "services.speech.records.postgres:open_records",
    "postgres": "services.speech.records.postgres:open_records",
}


class RecordTable(Protocol):
    """Small JSON objects by tenant, kind and name. Any method raises `Unavailable` while the database does not answer,
    and `FailedPrecondition` where none is configured.

    A kind is a literal of this service, such as `voice`.
    """

    @property
    def ready(self) -> bool | None:
        """Whether the database answers; None where none is configured."""

    async def start(self) -> None:
        """Begin to connect."""

    async def stop(self) -> None:
        """Close every connection."""

    async def create(self, tenant: str, kind: str, name: str, record: dict[str, Any], limit: int | None = None) -> None:
        """Create a record.

        Args:
            limit: The maximum number of records of this kind that the tenant may have; None for no maximum.

        Raises:
            AlreadyExists: The tenant has a record of this name; of several calls at once, one succeeds.
            FailedPrecondition: The tenant has `limit` records of this kind.
        """

    async def get(self, tenant: str, kind: str, name: str) -> dict[str, Any]:
        """Return a record.

        Raises:
            NotFound: The tenant has no record of this name.
        """

    async def all(self, tenant: str, kind: str) -> dict[str, dict[str, Any]]:
        """Return the records of a kind by name, in code point order."""

    async def names(self, tenant: str, kind: str) -> list[str]:
        """Return the names of the records of a kind, in code point order."""

    async def delete(self, tenant: str, kind: str, name: str) -> dict[str, Any]:
        """Delete a record and return it; of several calls at once, one succeeds.

        Raises:
            NotFound: The tenant has no record of this name.
        """


def open_records(url: str, connections: int) -> RecordTable:
    """Return the records that a URL names, not yet started.

    Args:
        url: `memory:`, `postgresql://user:password@host/database`, or empty for none.
        connections: The maximum number of connections to the database.

    Raises:
        FailedPrecondition: No records have the URL's scheme.
    """
    return cast("RecordTable", open_by_scheme(url, connections, OPENERS))


def record_exists(kind: str, name: str) -> AlreadyExists:
    """The error for a name that is in use."""
    return AlreadyExists(f"a {_noun(kind)} named {cut(name)!r} already exists", field="name")


def record_not_found(kind: str, name: str, field: str = "name") -> NotFound:
    """The error for a name without a record."""
    return NotFound(f"no {_noun(kind)} named {cut(name)!r}", field=field)


def too_many_records(kind: str, limit: int) -> FailedPrecondition:
    """The error for a tenant that has the maximum number of records of a kind."""
    return FailedPrecondition(f"too many {_noun(kind)}s ({limit}): delete one", field="name")


def _noun(kind: str) -> str:
    return kind.replace("-", " ")
