"""The import of the records that version 0.1 kept as JSON beside the bytes, `<tenant>/records/<kind>/<name>.json`."""

import json
import logging
from pathlib import PurePosixPath
from typing import Any

from gateway.records import FileRecord, IndexedFile, Records, VectorStoreRecord, now
from servekit.errors import InvalidArgument, NotFound, Unavailable
from servekit.media.objects import ObjectStore

log = logging.getLogger(__name__)

# The speech service keeps these records, and the bytes that they refer to.
_SPEECH = ("voice", "sound-model")


async def import_records(store: ObjectStore, records: Records) -> int:
    """Move the records of files and vector stores to `records`, and return their number.

    It may be repeated after it has failed, and several gateways may do it at once. Until a file is imported, the
    metadata of its bytes (`records/object`) keep a sweep from deleting them.
    """
    imported = 0
    for tenant in await store.tenants():
        found: dict[str, list[str]] = {}
        for path, _ in await store.bucket.entries(f"{tenant}/records"):
            found.setdefault(PurePosixPath(path).parent.name, []).append(path)
        kept = {fields.get("reference") for kind in _SPEECH for fields in await _read(store, found.get(kind, []))}
        indexed = [kind for kind in found if kind.startswith("in-")]
        for kind in ("store", "file", *indexed):
            for path in found.get(kind, []):
                for fields in await _read(store, [path]):
                    await _import(tenant, kind, fields, records)
                    await store.bucket.remove(path)
                    imported += 1
        for path in found.get("object", []):
            if f"sha256:{PurePosixPath(path).stem}" not in kept:
                await store.bucket.remove(path)
    return imported


async def described_objects(store: ObjectStore, tenant: str) -> set[str]:
    """The digests whose metadata of version 0.1 are left: objects of a voice or a sound model, or not imported yet."""
    return {PurePosixPath(path).stem for path, _ in await store.bucket.entries(f"{tenant}/records/object")}


async def _read(store: ObjectStore, paths: list[str]) -> list[dict[str, Any]]:
    """The JSON objects at the paths; those that hold none are left where they are."""
    objects = []
    for path in paths:
        try:
            fields = json.loads(await store.bucket.read(path))
        except (FileNotFoundError, ValueError):  # another gateway was first; or a power loss left it empty
            continue
        if isinstance(fields, dict):
            objects.append(fields)
    return objects


async def _import(tenant: str, kind: str, fields: dict[str, Any], records: Records) -> None:
    try:
        if kind == "store":
            await records.add_vector_store(tenant, VectorStoreRecord(**fields))
        elif kind == "file":
            await _import_file(tenant, FileRecord(**fields), records)
        else:
            await records.add_indexed(tenant, IndexedFile(**fields))
    except (TypeError, InvalidArgument, NotFound) as error:  # of another form, or of a deleted store
        log.warning("a record of kind %s of tenant %s is not imported: %s", kind, tenant, error)


async def _import_file(tenant: str, file: FileRecord, records: Records) -> None:
    if file.expires_at is not None and file.expires_at <= now():
        return
    await records.begin_upload(tenant, file)
    try:
        await records.finish_upload(tenant, file)
    except Unavailable:
        await records.file(tenant, file.id)  # imported before, or by another gateway
