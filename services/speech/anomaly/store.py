"""The anomaly detectors of every tenant: a record for each version, its artefact in the object store beside it."""

import asyncio
import time
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, replace

from servekit.echo import cut
from servekit.errors import AlreadyExists, FailedPrecondition, NotFound, ServeError
from servekit.media.bucket import Bucket
from services.speech.anomaly.detectors import AnomalyModel, dump, parse
from services.speech.records import RecordTable
from services.speech.records.blob_records import BlobRecords
from services.speech.settings import SpeechSettings

MAX_BYTES = 16 << 20  # of an artefact; a hundred classes have under a tenth of a megabyte


@dataclass(frozen=True, slots=True)
class DetectorRecord:
    """One version of an anomaly detector.

    Attributes:
        name: The name that the tenant gave the model.
        version: The version of the model, from 1.
        classes: The classes of a classifier; empty for an anomaly detector.
        threshold: The score from which a sound is anomalous; 0 for a classifier.
        clips: The number of clips that the model was trained on.
        seconds: The total length of the clips, in seconds.
        macro_f1: The macro F1 over held-out clips; None for an anomaly detector, or where there are too few clips.
        created: When the version was created, in seconds since 1970.
        reference: The name of the artefact in the object store.
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


class DetectorStore:
    """The anomaly detectors of every tenant.

    Args:
        bucket: Where the artefacts are.
        records: Where the records are.
        settings: How many models there may be, and how many are cached in memory.
    """

    def __init__(self, bucket: Bucket, records: RecordTable, settings: SpeechSettings) -> None:
        self._records = BlobRecords(bucket, records, "sound-model", DetectorRecord)
        self._cached = settings.max_cached_anomaly_detectors
        self._max_models, self._max_versions = settings.max_anomaly_detectors, settings.max_anomaly_detector_versions
        self._cache: OrderedDict[tuple[str, str], AnomalyModel] = OrderedDict()  # by tenant and reference

    async def check_room(self, tenant: str, name: str) -> None:
        """Check that a model of this name can be created.

        Raises:
            FailedPrecondition: The tenant has the maximum number of models.
        """
        names = {found for found, _ in await self._all(tenant)}
        if name not in names and len(names) >= self._max_models:
            raise self._records.too_many(self._max_models)

    async def add(self, tenant: str, record: DetectorRecord, model: AnomalyModel) -> DetectorRecord:
        """Store a model under the next free version of its name; of several calls at once, each gets its own.

        The oldest versions are deleted where there are too many.

        Raises:
            FailedPrecondition: The tenant has the maximum number of models.
        """
        await self.check_room(tenant, record.name)
        async with self._records.blob(tenant, dump(model)) as reference:
            created = await self._create(tenant, replace(record, created=time.time(), reference=reference))
        with suppress(ServeError):  # the next call to add a version tries again
            for version in (await self._versions(tenant, created.name))[: -self._max_versions]:
                await self._drop(tenant, created.name, version)
        return created

    async def _create(self, tenant: str, record: DetectorRecord) -> DetectorRecord:
        version = max(await self._versions(tenant, record.name), default=0)
        while True:
            version += 1
            created = replace(record, version=version)
            try:
                await self._records.create(tenant, _path(created.name, version), created)
            except AlreadyExists:
                continue
            return created

    async def last(self, tenant: str) -> list[DetectorRecord]:
        """Return the last version of each model, by name; versions whose record is damaged are left out."""
        found: dict[str, DetectorRecord] = {}
        for record in (await self._records.all(tenant)).values():
            if record.name not in found or found[record.name].version < record.version:
                found[record.name] = record
        return [found[name] for name in sorted(found)]

    async def get(self, tenant: str, name: str, version: int) -> tuple[DetectorRecord, AnomalyModel]:
        """Return a model in one version; 0 for the last.

        Raises:
            NotFound: The tenant has no such model, or not in that version.
            FailedPrecondition: The model is damaged, or of another release.
        """
        versions = await self._versions(tenant, name)
        if not versions:
            raise self._records.not_found(name)
        wanted = version or versions[-1]
        if wanted not in versions:
            raise NotFound(f"no version {wanted} of the sound model {cut(name)!r}", field="version")
        record = await self._records.get(tenant, _path(name, wanted))
        key = tenant, record.reference
        if key not in self._cache:
            data = await self._records.read(tenant, name, record, MAX_BYTES)
            self._cache[key] = await asyncio.to_thread(parse, data)
        self._cache.move_to_end(key)
        model = self._cache[key]
        while len(self._cache) > self._cached:
            self._cache.popitem(last=False)
        return record, model

    async def delete(self, tenant: str, name: str) -> None:
        """Delete every version of a model, damaged ones included.

        Raises:
            NotFound: The tenant has no such model.
        """
        versions = await self._versions(tenant, name)
        if not versions:
            raise self._records.not_found(name)
        for version in versions:
            await self._drop(tenant, name, version)

    async def sweep(self, now: float) -> int:
        """Delete artefacts without a record: see `BlobRecords.sweep`."""
        return await self._records.sweep(now)

    async def _drop(self, tenant: str, name: str, version: int) -> None:
        path = _path(name, version)
        with suppress(NotFound, FailedPrecondition):
            self._cache.pop((tenant, (await self._records.get(tenant, path)).reference), None)
        with suppress(NotFound):  # another call deleted it first
            await self._records.delete(tenant, path)

    async def _versions(self, tenant: str, name: str) -> list[int]:
        return sorted(version for found, version in await self._all(tenant) if found == name)

    async def _all(self, tenant: str) -> list[tuple[str, int]]:
        """The name and version of each record, damaged ones included."""
        split = (path.rpartition(".") for path in await self._records.names(tenant))
        return [(name, int(version)) for name, _, version in split if name and version.isdecimal()]


def _path(name: str, version: int) -> str:
    return f"{name}.{version}"
