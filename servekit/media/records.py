"""Small records of a tenant, kept as JSON beside its objects: `<tenant>/records/<kind>/<name>.json`."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, from_url

from servekit.rpc.errors import AlreadyExists, InvalidArgument, NotFound, Unavailable

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class Records:
    """JSON objects by tenant, kind and name; each is written whole or not at all.

    Any method raises `InvalidArgument` for a malformed tenant, kind or name, and `Unavailable`
    where the store behind it does not answer.

    Args:
        url: A folder, or `s3://bucket/prefix` and whatever else obstore opens.
    """

    def __init__(self, url: str) -> None:
        self._store = from_url(url) if "://" in url else LocalStore(prefix=url, mkdir=True)

    async def put_record(self, tenant: str, kind: str, name: str, record: dict[str, Any]) -> None:
        """Keep a record under a name, in place of what was there."""
        with answering():
            await obstore.put_async(self._store, _path(tenant, kind, name), json.dumps(record).encode())

    async def create_record(self, tenant: str, kind: str, name: str, record: dict[str, Any]) -> None:
        """Keep a record under a name that is free.

        Raises:
            AlreadyExists: This tenant has one of that name; of several at once, one is kept.
        """
        path = _path(tenant, kind, name)
        with answering():
            try:
                await obstore.put_async(self._store, path, json.dumps(record).encode(), mode="create")
            except AlreadyExistsError:
                raise AlreadyExists(f"there is a {kind} {name}", field=kind) from None

    async def get_record(self, tenant: str, kind: str, name: str) -> dict[str, Any]:
        """The record of that name.

        Raises:
            NotFound: This tenant has none.
        """
        record = await self._load(_path(tenant, kind, name))
        if record is None:
            raise NotFound(f"there is no {kind} {name}", field=kind)
        return record

    async def list_records(self, tenant: str, kind: str) -> dict[str, dict[str, Any]]:
        """All records of a kind by name, in the order of their names."""
        names = await self.record_names(tenant, kind)
        loaded = {name: await self._load(_path(tenant, kind, name)) for name in names}
        return {name: record for name, record in loaded.items() if record is not None}

    async def record_names(self, tenant: str, kind: str) -> list[str]:
        """The names of all records of a kind, in order."""
        folder = f"{checked_name(tenant, 'tenant')}/records/{checked_name(kind, 'kind')}"
        return sorted(Path(path).stem for path, _ in await self._list(folder))

    async def delete_record(self, tenant: str, kind: str, name: str) -> None:
        """Remove a record, whatever is in it.

        Raises:
            NotFound: This tenant has none.
        """
        path = _path(tenant, kind, name)
        with answering():
            try:
                await obstore.head_async(self._store, path)
            except FileNotFoundError:
                raise NotFound(f"there is no {kind} {name}", field=kind) from None
        await self._remove(path)

    async def _load(self, path: str) -> dict[str, Any] | None:
        """A record, or None where there is none or a loss of power left only its name."""
        with answering():
            try:
                found = await obstore.get_async(self._store, path)
                loaded = json.loads(bytes(await found.bytes_async()))
            except (FileNotFoundError, ValueError, RecursionError):
                return None
        return loaded if isinstance(loaded, dict) else None

    async def _remove(self, path: str) -> None:
        with answering(), suppress(FileNotFoundError):
            await obstore.delete_async(self._store, path)

    async def _list(self, prefix: str) -> list[tuple[str, float]]:
        """Paths under a prefix and when they were last written, in seconds since 1970."""
        with answering():
            batches = [batch async for batch in obstore.list(self._store, prefix)]
        return [(meta["path"], meta["last_modified"].timestamp()) for batch in batches for meta in batch]


def checked_name(value: str, field: str) -> str:
    """`value` if it can stand in a path.

    Raises:
        InvalidArgument: It has other characters than letters, digits, dots and dashes.
    """
    if not _NAME.fullmatch(value):
        raise InvalidArgument(f"{value[:80]!r} is not a name of letters, digits, dots and dashes", field=field)
    return value


@contextmanager
def answering() -> Iterator[None]:
    """Says of a store that fails that trying again is right."""
    try:
        yield
    except BaseError as error:
        raise Unavailable("the object store does not answer", retry_after=1.0) from error


def _path(tenant: str, kind: str, name: str) -> str:
    return f"{checked_name(tenant, 'tenant')}/records/{checked_name(kind, 'kind')}/{checked_name(name, kind)}.json"
