"""Records in memory, which end with the process."""

import copy
from typing import Any

from services.speech.records import record_exists, record_not_found, too_many_records


class MemoryRecordTable:
    """See `RecordTable`.

    Args:
        url: `memory:`.
        connections: Ignored: there is no database.
    """

    ready = True

    def __init__(self, url: str = "memory:", connections: int = 0) -> None:  # noqa: ARG002
        self._records: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    async def create(self, tenant: str, kind: str, name: str, record: dict[str, Any], limit: int | None = None) -> None:
        records = self._records.setdefault((tenant, kind), {})
        if name in records:
            raise record_exists(kind, name)
        if limit is not None and len(records) >= limit:
            raise too_many_records(kind, limit)
        records[name] = copy.deepcopy(record)

    async def get(self, tenant: str, kind: str, name: str) -> dict[str, Any]:
        records = self._records.get((tenant, kind), {})
        if name not in records:
            raise record_not_found(kind, name)
        return copy.deepcopy(records[name])

    async def all(self, tenant: str, kind: str) -> dict[str, dict[str, Any]]:
        return copy.deepcopy(dict(sorted(self._records.get((tenant, kind), {}).items())))

    async def names(self, tenant: str, kind: str) -> list[str]:
        return sorted(self._records.get((tenant, kind), {}))

    async def delete(self, tenant: str, kind: str, name: str) -> dict[str, Any]:
        record = await self.get(tenant, kind, name)
        del self._records[tenant, kind][name]
        return record
