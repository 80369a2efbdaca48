"""Small JSON records of a tenant, beside its objects: `<tenant>/records/<kind>/<name>.json`."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, from_url

from servekit.echo import cut
from servekit.errors import AlreadyExists, InvalidArgument, NotFound, Unavailable

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class RecordStore:
    """JSON objects by tenant, kind and name; each is written whole or not at all.

    Any method raises `InvalidArgument` for a malformed tenant, kind or name, and `Unavailable`
    where the object store does not answer.

    Args:
        url: A folder, `s3://bucket/prefix`, or another URL that obstore opens.
    """

    def __init__(self, url: str) -> None:
        self._store = from_url(url) if "://" in url else LocalStore(prefix=url, mkdir=True)

    async def put_record(self, tenant: str, kind: str, name: str, record: dict[str, Any]) -> None:
        """Write a record, in place of one of the same name."""
        with answering():
            await obstore.put_async(self._store, _path(tenant, kind, name), json.dumps(record).encode())

    async def create_record(self, tenant: str, kind: str, name: str, record: dict[str, Any]) -> None:
        """Write a record under a name that is not in use.

        Raises:
            AlreadyExists: The tenant has a record of this name; of several calls at once, one succeeds.
        """
        path = _path(tenant, kind, name)
        with answering():
            try:
                await obstore.put_async(self._store, path, json.dumps(record).encode(), mode="create")
            except AlreadyExistsError:
                raise AlreadyExists(f"a {kind} named {name} already exists", field=kind) from None

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
        return sorted(Path(path).stem for path, _ in await self._list(folder))

    async def delete_record(self, tenant: str, kind: str, name: str) -> None:
        """Delete a record, whatever it holds.

        Raises:
            NotFound: The tenant has no record of this name.
        """
        path = _path(tenant, kind, name)
        with answering():
            try:
                await obstore.head_async(self._store, path)
            except FileNotFoundError:
                raise NotFound(f"no {kind} named {name}", field=kind) from None
        await self._remove(path)

    async def _load(self, path: str) -> dict[str, Any] | None:
        """A record; None where there is none, or where a power loss left its file empty."""
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
        """The paths under a prefix, each with the time of its last write in seconds since 1970."""
        with answering():
            batches = [batch async for batch in obstore.list(self._store, prefix)]
        return [(meta["path"], meta["last_modified"].timestamp()) for batch in batches for meta in batch]


def checked_name(value: str, field: str) -> str:
    """Return `value` if it can be part of a path.

    Raises:
        InvalidArgument: `value` is not 1 to 128 letters, digits, `.`, `_` and `-`, a letter or digit first.
    """
    if not _NAME.fullmatch(value):
        raise InvalidArgument(
            f"a name must be 1 to 128 letters, digits, dots, dashes and underscores, got {cut(value)!r}", field=field
        )
    return value


@contextmanager
def answering() -> Iterator[None]:
    """Raise what the object store raises as `Unavailable`."""
    try:
        yield
    except BaseError as error:
        raise Unavailable("the object store does not answer", retry_after=1.0) from error


def _path(tenant: str, kind: str, name: str) -> str:
    return f"{checked_name(tenant, 'tenant')}/records/{checked_name(kind, 'kind')}/{checked_name(name, kind)}.json"
