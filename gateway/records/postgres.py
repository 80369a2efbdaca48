"""Records in Postgres. Several gateways may share them; row-level security keeps tenants apart."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any, LiteralString

import psycopg
from psycopg.rows import TupleRow, dict_row
from psycopg.types.json import Jsonb

from gateway.records import PENDING_SECONDS
from gateway.records.errors import change_ended, check_storable, not_found, upload_expired
from gateway.records.postgres_schema import SCHEMA
from gateway.records.rows import MAX_ROWS, FileChange, FileRecord, IndexedFile, StoreUsage, VectorStoreRecord, now
from servekit.database.pool import DatabasePool

_FILE: LiteralString = (
    "id, filename, size, mime_type, purpose, 'sha256:' || digest AS reference, created_at, expires_at"
)
_VISIBLE: LiteralString = "NOT uploading AND (expires_at IS NULL OR expires_at > %(now)s)"
# Rows that are older, or as old and (an expression that follows) of a later id.
_AFTER: LiteralString = "(created_at < %(after_time)s OR created_at = %(after_time)s AND"
_STORE: LiteralString = "id, name, created_at, metadata"
_INDEXED: LiteralString = "store_id, file_id, filename, size, chunks, created_at, attributes"
_THIS: LiteralString = "store_id = %(store_id)s AND file_id = %(file_id)s AND id = %(id)s"  # one change

_NEWEST = 2**63 - 1, ""  # before every row


class PostgresRecords:
    """See `Records`.

    Args:
        pool: The connections to the database.
    """

    def __init__(self, pool: DatabasePool) -> None:
        self._pool = pool

    @property
    def ready(self) -> bool | None:
        return self._pool.ready

    def check_ready(self) -> None:
        self._pool.check_ready()

    async def start(self) -> None:
        await self._pool.start()

    async def stop(self) -> None:
        await self._pool.stop()

    async def begin_upload(self, tenant: str, file: FileRecord) -> None:
        check_storable("file", file.filename)
        row = {**asdict(file), "tenant": tenant, "digest": file.digest, "expires_at": now() + PENDING_SECONDS}
        async with self._writing(tenant) as connection:
            # An update where the row exists: it waits for a running `collect`, and inserts the row again after it.
            await connection.execute(
                "INSERT INTO gateway.objects VALUES (%(tenant)s, %(digest)s) "
                "ON CONFLICT (tenant, digest) DO UPDATE SET digest = excluded.digest",
                row,
            )
            await connection.execute(
                "INSERT INTO gateway.files VALUES (%(tenant)s, %(id)s, %(filename)s, %(size)s, %(mime_type)s, "
                "%(purpose)s, %(digest)s, %(created_at)s, %(expires_at)s, true) ON CONFLICT (tenant, id) DO NOTHING",
                row,
            )

    async def finish_upload(self, tenant: str, file: FileRecord) -> None:
        statement: LiteralString = (
            "UPDATE gateway.files SET uploading = false, purpose = %(purpose)s, expires_at = %(expires_at)s "
            "WHERE id = %(id)s AND uploading"
        )
        async with self._pool.transaction(tenant) as connection:
            cursor = await connection.execute(statement, asdict(file))
        if not cursor.rowcount:
            raise upload_expired()

    async def abandon_upload(self, tenant: str, file_id: str) -> None:
        async with self._pool.transaction(tenant) as connection:
            await connection.execute("DELETE FROM gateway.files WHERE id = %s", (file_id,))

    async def file(self, tenant: str, file_id: str, field: str = "file_id") -> FileRecord:
        statement: LiteralString = f"SELECT {_FILE} FROM gateway.files WHERE id = %(id)s AND {_VISIBLE}"
        rows = await self._rows(tenant, statement, id=file_id, now=now())
        if not rows:
            raise not_found("file", file_id, field)
        return FileRecord(**rows[0])

    async def files(
        self, tenant: str, limit: int = MAX_ROWS, after: FileRecord | None = None, purpose: str = ""
    ) -> list[FileRecord]:
        statement: LiteralString = (
            f"SELECT {_FILE} FROM gateway.files WHERE {_VISIBLE} AND %(purpose)s IN ('', purpose) "
            f"AND {_AFTER} id > %(after_id)s) ORDER BY created_at DESC, id LIMIT %(limit)s"
        )
        values = _page(limit, (after.created_at, after.id) if after else _NEWEST)
        return [FileRecord(**row) for row in await self._rows(tenant, statement, now=now(), purpose=purpose, **values)]

    async def remove_file(self, tenant: str, file_id: str, field: str = "file_id") -> FileRecord:
        statement: LiteralString = f"DELETE FROM gateway.files WHERE id = %(id)s AND {_VISIBLE} RETURNING {_FILE}"
        rows = await self._rows(tenant, statement, id=file_id, now=now())
        if not rows:
            raise not_found("file", file_id, field)
        return FileRecord(**rows[0])

    async def add_vector_store(self, tenant: str, record: VectorStoreRecord) -> None:
        check_storable("name", record.name)
        check_storable("metadata", record.metadata)
        row = {**asdict(record), "tenant": tenant, "metadata": Jsonb(record.metadata)}
        async with self._writing(tenant) as connection:
            await connection.execute(
                "INSERT INTO gateway.vector_stores VALUES (%(tenant)s, %(id)s, %(name)s, %(created_at)s, %(metadata)s) "
                "ON CONFLICT (tenant, id) DO NOTHING",
                row,
            )

    async def vector_store(self, tenant: str, store_id: str, field: str = "vector_store_id") -> VectorStoreRecord:
        rows = await self._rows(tenant, f"SELECT {_STORE} FROM gateway.vector_stores WHERE id = %(id)s", id=store_id)
        if not rows:
            raise not_found("vector store", store_id, field)
        return VectorStoreRecord(**rows[0])

    async def vector_stores(
        self, tenant: str, limit: int = MAX_ROWS, after: VectorStoreRecord | None = None
    ) -> list[VectorStoreRecord]:
        statement: LiteralString = (
            f"SELECT {_STORE} FROM gateway.vector_stores WHERE {_AFTER} id > %(after_id)s) "
            "ORDER BY created_at DESC, id LIMIT %(limit)s"
        )
        values = _page(limit, (after.created_at, after.id) if after else _NEWEST)
        return [VectorStoreRecord(**row) for row in await self._rows(tenant, statement, **values)]

    async def usage(self, tenant: str, store_ids: Sequence[str]) -> Mapping[str, StoreUsage]:
        statement: LiteralString = (
            "SELECT store_id, count(*) AS files, sum(size)::bigint AS size FROM gateway.vector_store_files "
            "WHERE store_id = ANY(%(ids)s) GROUP BY store_id"
        )
        rows = await self._rows(tenant, statement, ids=list(store_ids))
        return {row["store_id"]: StoreUsage(row["files"], row["size"]) for row in rows}

    async def remove_vector_store(self, tenant: str, store_id: str) -> None:
        statement: LiteralString = "DELETE FROM gateway.vector_stores WHERE id = %(id)s RETURNING id"
        if not await self._rows(tenant, statement, id=store_id):
            raise not_found("vector store", store_id, "vector_store_id")

    async def begin_change(self, tenant: str, change: FileChange, seconds: float) -> bool:
        if change.attached is not None:
            check_storable("attributes", change.attached.attributes)
        attached = None if change.attached is None else Jsonb(asdict(change.attached))
        row = {**_key(change), "tenant": tenant, "attached": attached, "seconds": seconds}
        try:
            async with self._pool.transaction(tenant) as connection:
                cursor = await connection.execute(
                    "INSERT INTO gateway.vector_store_changes VALUES (%(tenant)s, %(store_id)s, %(file_id)s, %(id)s, "
                    "%(attached)s, now() + make_interval(secs => %(seconds)s)) ON CONFLICT DO NOTHING",
                    row,
                )
        except psycopg.errors.ForeignKeyViolation:
            raise not_found("vector store", change.store_id, "vector_store_id") from None
        return bool(cursor.rowcount)

    async def extend_change(self, tenant: str, change: FileChange, seconds: float) -> bool:
        statement: LiteralString = (
            "UPDATE gateway.vector_store_changes SET late_at = now() + make_interval(secs => %(seconds)s) "
            f"WHERE {_THIS} RETURNING id"
        )
        return bool(await self._rows(tenant, statement, **_key(change), seconds=seconds))

    async def finish_change(self, tenant: str, change: FileChange) -> None:
        async with self._pool.transaction(tenant) as connection:
            # Locked first, in the order of a deletion of the vector store.
            lock: LiteralString = "SELECT FROM gateway.vector_stores WHERE id = %(store_id)s FOR KEY SHARE"
            if not (await connection.execute(lock, _key(change))).rowcount:
                raise not_found("vector store", change.store_id, "vector_store_id")
            ended = await connection.execute(f"DELETE FROM gateway.vector_store_changes WHERE {_THIS}", _key(change))
            if not ended.rowcount:
                raise change_ended()
            if change.attached is not None:
                await connection.execute(
                    "INSERT INTO gateway.vector_store_files VALUES (%(tenant)s, %(store_id)s, %(file_id)s, "
                    "%(filename)s, %(size)s, %(chunks)s, %(created_at)s, %(attributes)s) "
                    "ON CONFLICT (tenant, store_id, file_id) DO UPDATE SET (filename, size, chunks, created_at, "
                    "attributes) = (excluded.filename, excluded.size, excluded.chunks, excluded.created_at, "
                    "excluded.attributes)",
                    _row(tenant, change.attached),
                )
            else:
                await connection.execute(
                    "DELETE FROM gateway.vector_store_files WHERE store_id = %(store_id)s AND file_id = %(file_id)s",
                    _key(change),
                )

    async def abandon_change(self, tenant: str, change: FileChange) -> None:
        async with self._pool.transaction(tenant) as connection:
            await connection.execute(f"DELETE FROM gateway.vector_store_changes WHERE {_THIS}", _key(change))

    async def claim_changes(self, tenant: str, seconds: float) -> list[FileChange]:
        statement: LiteralString = (
            "UPDATE gateway.vector_store_changes SET late_at = now() + make_interval(secs => %(seconds)s) "
            "WHERE late_at <= now() RETURNING id, store_id, file_id, attached"
        )
        rows = await self._rows(tenant, statement, seconds=seconds)
        return [FileChange(**row | {"attached": row["attached"] and IndexedFile(**row["attached"])}) for row in rows]

    async def indexed(
        self, tenant: str, store_id: str, limit: int = MAX_ROWS, after: IndexedFile | None = None
    ) -> list[IndexedFile]:
        statement: LiteralString = (
            f"SELECT {_INDEXED} FROM gateway.vector_store_files WHERE store_id = %(id)s "
            f"AND {_AFTER} file_id > %(after_id)s) ORDER BY created_at DESC, file_id LIMIT %(limit)s"
        )
        values = _page(limit, (after.created_at, after.file_id) if after else _NEWEST)
        return [IndexedFile(**row) for row in await self._rows(tenant, statement, id=store_id, **values)]

    async def indexed_file(self, tenant: str, store_id: str, file_id: str, field: str = "file_id") -> IndexedFile:
        statement: LiteralString = (
            f"SELECT {_INDEXED} FROM gateway.vector_store_files WHERE store_id = %(id)s AND file_id = %(file_id)s"
        )
        rows = await self._rows(tenant, statement, id=store_id, file_id=file_id)
        if not rows:
            raise not_found("file in this vector store", file_id, field)
        return IndexedFile(**rows[0])

    async def tenants(self) -> list[str]:
        async with self._pool.connection() as connection:
            return await _column(connection, "SELECT name FROM gateway.tenants ORDER BY name")

    async def expire_files(self, tenant: str, now: float) -> int:
        async with self._pool.transaction(tenant) as connection:
            return (await connection.execute("DELETE FROM gateway.files WHERE expires_at <= %s", (now,))).rowcount

    async def unreferenced(self, tenant: str) -> list[str]:
        statement: LiteralString = (
            "SELECT digest FROM gateway.objects WHERE NOT EXISTS (SELECT FROM gateway.files "
            "WHERE (files.tenant, files.digest) = (objects.tenant, objects.digest))"
        )
        async with self._pool.transaction(tenant) as connection:
            return await _column(connection, statement)

    async def unknown(self, tenant: str, digests: Sequence[str]) -> list[str]:
        statement: LiteralString = "SELECT unnest(%s::text[]) EXCEPT SELECT digest FROM gateway.objects"
        async with self._pool.transaction(tenant) as connection:
            return await _column(connection, statement, list(digests))

    async def collect(self, tenant: str, digest: str, delete: Callable[[], Awaitable[None]]) -> bool:
        row = {"tenant": tenant, "digest": digest}
        async with self._writing(tenant) as connection:
            # From here on an upload of the same bytes waits.
            lock: LiteralString = "SELECT FROM gateway.objects WHERE digest = %(digest)s FOR UPDATE SKIP LOCKED"
            if not (await connection.execute(lock, row)).rowcount:
                # There are bytes without a row, or another gateway deletes them, or an upload of them begins.
                insert: LiteralString = (
                    "INSERT INTO gateway.objects SELECT %(tenant)s, %(digest)s "
                    "WHERE NOT EXISTS (SELECT FROM gateway.objects WHERE digest = %(digest)s) ON CONFLICT DO NOTHING"
                )
                if not (await connection.execute(insert, row)).rowcount:
                    return False
            # A statement of its own, which sees what was committed before the lock.
            unreferenced: LiteralString = (
                "DELETE FROM gateway.objects WHERE digest = %(digest)s "
                "AND NOT EXISTS (SELECT FROM gateway.files WHERE digest = %(digest)s)"
            )
            if not (await connection.execute(unreferenced, row)).rowcount:
                return False
            await delete()
        return True

    async def forget(self, tenant: str) -> None:
        lock: LiteralString = "SELECT FROM gateway.tenants WHERE name = %s FOR UPDATE SKIP LOCKED"
        unused: LiteralString = (
            "DELETE FROM gateway.tenants WHERE name = %s AND NOT EXISTS (SELECT FROM gateway.objects) "
            "AND NOT EXISTS (SELECT FROM gateway.vector_stores)"
        )
        async with self._pool.transaction(tenant) as connection:
            if (await connection.execute(lock, (tenant,))).rowcount:
                await connection.execute(unused, (tenant,))

    @asynccontextmanager
    async def _writing(self, tenant: str) -> AsyncIterator[psycopg.AsyncConnection]:
        """A transaction whose rows may be the first of a tenant, which `forget` does not delete meanwhile."""
        insert: LiteralString = "INSERT INTO gateway.tenants VALUES (%s) ON CONFLICT DO NOTHING"
        lock: LiteralString = "SELECT FROM gateway.tenants WHERE name = %s FOR KEY SHARE"
        async with self._pool.transaction(tenant) as connection:
            await connection.execute(insert, (tenant,))
            while not (await connection.execute(lock, (tenant,))).rowcount:  # it has just been forgotten
                await connection.execute(insert, (tenant,))
            yield connection

    async def _rows(self, tenant: str, statement: LiteralString, **values: Any) -> list[dict[str, Any]]:
        """The rows of a statement; none where a value cannot be in the database, such as an id with U+0000."""
        if any(isinstance(value, str) and "\0" in value for value in values.values()):
            return []
        async with self._pool.transaction(tenant) as connection, connection.cursor(row_factory=dict_row) as cursor:
            return await (await cursor.execute(statement, values)).fetchall()


def _row(tenant: str, file: IndexedFile) -> dict[str, Any]:
    return {**asdict(file), "tenant": tenant, "attributes": Jsonb(file.attributes)}


def _key(change: FileChange) -> dict[str, str]:
    return {"id": change.id, "store_id": change.store_id, "file_id": change.file_id}


def _page(limit: int, after: tuple[int, str]) -> dict[str, Any]:
    """The values of a statement with `_AFTER`: the time and the id of the row before the page."""
    return {"limit": limit, "after_time": after[0], "after_id": after[1]}


async def _column(
    connection: psycopg.AsyncConnection[TupleRow], statement: LiteralString, *values: object
) -> list[str]:
    return [row[0] for row in await (await connection.execute(statement, values)).fetchall()]


def open_records(url: str, connections: int) -> PostgresRecords:
    """The records in the database of this URL."""
    unconfigured = "files and vector stores need a database: set POLYPHONY_GATEWAY_DATABASE_URL"
    return PostgresRecords(DatabasePool(url, connections, SCHEMA, unconfigured=unconfigured))
