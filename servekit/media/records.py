"""Small JSON records of a tenant, beside its objects: `<tenant>/records/<kind>/<name>.json`."""

import json
from pathlib import Path
from typing import Any

from servekit.errors import AlreadyExists, NotFound
from servekit.media.bucket import Bucket, checked_name


class RecordStore:
    """JSON objects by tenant, kind and name; each is written whole or not at all.

    Any method raises `InvalidArgument` for a malformed tenant, kind or name, and `Unavailable`
    where the object store does not answer.

    Args:
        bucket: Where the records are.
    """

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    async def create_record(self, tenant: str, kind: str, name: str, record: dict[str, Any]) -> None:
        """Write a record under a name that is not in use.

        Raises:
            AlreadyExists: The tenant has a record of this name; of several calls at once, one succeeds.
        """
        if not await self._bucket.create(_path(tenant, kind, name), json.dumps(record).encode()):
            raise AlreadyExists(f"a {kind} named {name} already exists", field=kind)

    async def get_record(self, tenant: str, kind: str, name: str) -> dict[str, Any]:
        """Return a record.

        Raises:
            NotFound: The tenant has no record of this name, or one that holds no JSON object.
        """
        record = await self._load(_path(tenant, kind, name))
        if record is None:
            raise NotFound(f"no {kind} named {name}", field=kind)
        return record

    async def list_records(self, tenant: str, kind: str) -> dict[str, dict[str, Any]]:
        """Return all records of a kind by name, in the order of their names."""
        names = await self.record_names(tenant, kind)
        loaded = {name: await self._load(_path(tenant, kind, name)) for name in names}
        return {name: record for name, record in loaded.items() if record is not None}

    async def record_names(self, tenant: str, kind: str) -> list[str]:
        """Return the names of all records of a kind, in order."""
        folder = f"{checked_name(tenant, 'tenant')}/records/{checked_name(kind, 'kind')}"
        return sorted(Path(path).stem for path, _ in await self._bucket.entries(folder))

    async def delete_record(self, tenant: str, kind: str, name: str) -> None:
        """Delete a record, whatever it holds.

        Raises:
            NotFound: The tenant has no record of this name.
        """
        path = _path(tenant, kind, name)
        try:
            await self._bucket.stat(path)
        except FileNotFoundError:
            raise NotFound(f"no {kind} named {name}", field=kind) from None
        await self._bucket.remove(path)

    async def _load(self, path: str) -> dict[str, Any] | None:
        """A record; None where there is none, or where a power loss left its file empty."""
        try:
            loaded = json.loads(await self._bucket.read(path))
        except (FileNotFoundError, ValueError, RecursionError):
            return None
        return loaded if isinstance(loaded, dict) else None


def _path(tenant: str, kind: str, name: str) -> str:
    return f"{checked_name(tenant, 'tenant')}/records/{checked_name(kind, 'kind')}/{checked_name(name, kind)}.json"
