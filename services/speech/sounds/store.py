"""The sound models of every tenant: a record for each version, its artefact in the object store beside it."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from servekit.errors import AlreadyExists, NotFound
from servekit.objects import ObjectStore
from services.speech.sounds.models import Fitted, dump, parse

_KIND = "sound-model"
MIME_TYPE = "application/octet-stream"
MAX_BYTES = 16 << 20  # of an artefact; a hundred classes have under a tenth of a megabyte


@dataclass(frozen=True, slots=True)
class SoundRecord:
    """One version of a sound model.

    Attributes:
        name: Given by the tenant.
        version: Counted up from 1.
        classes: That it knows; empty where it scores.
        threshold: The score from which a sound is anomalous; 0 where it classifies.
        clips: How many it was fitted to.
        seconds: How many they have together.
        macro_f1: Over clips that were left out; None where it scores or there are too few.
        created: Seconds since 1970.
        reference: Of its artefact.
    """

    name: str
    version: int
    classes: tuple[str, ...]
    threshold: float
    clips: int
    seconds: float
    macro_f1: float | None
    created: float = 0.0
    reference: str = ""


class SoundStore:
    """Keeps them.

    Args:
        store: Where.
        cached: How many are kept in memory, those that were used last.
    """

    def __init__(self, store: ObjectStore, cached: int) -> None:
        self._store = store
        self._cached = cached
        self._cache: OrderedDict[tuple[str, str], Fitted] = OrderedDict()  # by tenant and reference

    async def add(self, tenant: str, record: SoundRecord, fitted: Fitted) -> SoundRecord:
        """Keep a model under the next free version of its name, whatever the record says; of several, each gets one."""
        reference = await self._store.put(tenant, dump(fitted), MIME_TYPE, None)
        version = max(await self._versions(tenant, record.name), default=0)
        while True:
            version += 1
            made = replace(record, version=version, created=time.time(), reference=reference)
            try:
                await self._store.create_record(tenant, _KIND, _path(made.name, version), asdict(made))
            except AlreadyExists:
                continue
            return made

    async def last(self, tenant: str) -> list[SoundRecord]:
        """Each model in its last version, by name."""
        found: dict[str, SoundRecord] = {}
        for row in (await self._store.list_records(tenant, _KIND)).values():
            record = _record(row)
            if record.name not in found or found[record.name].version < record.version:
                found[record.name] = record
        return [found[name] for name in sorted(found)]

    async def get(self, tenant: str, name: str, version: int) -> tuple[SoundRecord, Fitted]:
        """A model in one version; 0 for the last.

        Raises:
            NotFound: This tenant has no such model, or not in that version.
            FailedPrecondition: It is damaged, or of another release.
        """
        wanted = version or max(await self._versions(tenant, name), default=0)
        if not wanted:
            raise _missing(name)
        try:
            record = _record(await self._store.get_record(tenant, _KIND, _path(name, wanted)))
        except NotFound:
            raise NotFound(f"there is no version {wanted} of the sound model {name!r}", field="version") from None
        key = tenant, record.reference
        if key not in self._cache:
            data = await self._store.read(tenant, record.reference, MAX_BYTES, "name")
            self._cache[key] = await asyncio.to_thread(parse, data)
        self._cache.move_to_end(key)
        fitted = self._cache[key]
        while len(self._cache) > self._cached:
            self._cache.popitem(last=False)
        return record, fitted

    async def delete(self, tenant: str, name: str) -> None:
        """Delete a model, all its versions.

        Raises:
            NotFound: This tenant has no such model.
        """
        versions = await self._versions(tenant, name)
        if not versions:
            raise _missing(name)
        for version in versions:
            record = _record(await self._store.get_record(tenant, _KIND, _path(name, version)))
            await self._store.delete_record(tenant, _KIND, _path(name, version))
            await self._store.delete(tenant, record.reference)
            self._cache.pop((tenant, record.reference), None)

    async def _versions(self, tenant: str, name: str) -> list[int]:
        split = (found.rpartition(".") for found in await self._store.record_names(tenant, _KIND))
        return sorted(int(version) for of, _, version in split if of == name)


def _path(name: str, version: int) -> str:
    return f"{name}.{version}"


def _record(row: Mapping[str, Any]) -> SoundRecord:
    return SoundRecord(**{**row, "classes": tuple(row["classes"])})


def _missing(name: str) -> NotFound:
    return NotFound(f"there is no sound model {name[:80]!r}", field="name")
