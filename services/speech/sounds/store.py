"""The sound models of every tenant: a record for each version, its artefact in the object store beside it."""

import asyncio
import logging
import time
from collections import OrderedDict
from contextlib import suppress
from dataclasses import asdict, dataclass, replace

from pydantic import TypeAdapter, ValidationError

from servekit.media.objects import ObjectStore
from servekit.rpc.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, ServeError
from services.speech.settings import SpeechSettings
from services.speech.sounds.models import Fitted, damaged, dump, parse

log = logging.getLogger(__name__)

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


_RECORD = TypeAdapter(SoundRecord)


class SoundStore:
    """Keeps them.

    Args:
        store: Where.
        settings: How many there may be, and how many are kept in memory.
    """

    def __init__(self, store: ObjectStore, settings: SpeechSettings) -> None:
        self._store = store
        self._cached = settings.cached_sound_models
        self._most, self._most_versions = settings.max_sound_models, settings.max_sound_versions
        self._cache: OrderedDict[tuple[str, str], Fitted] = OrderedDict()  # by tenant and reference

    async def check_room(self, tenant: str, name: str) -> None:
        """Check that a model of this name can be kept.

        Raises:
            FailedPrecondition: It would be one too many.
        """
        names = {found for found, _ in await self._kept(tenant)}
        if name not in names and len(names) >= self._most:
            message = f"there are {len(names)} sound models, no more are kept: delete one"
            raise FailedPrecondition(message, field="name")

    async def add(self, tenant: str, record: SoundRecord, fitted: Fitted) -> SoundRecord:
        """Keep a model under the next free version of its name, whatever the record says; of several, each gets one.

        Its oldest versions go where there are too many.

        Raises:
            FailedPrecondition: It would be one model too many.
        """
        await self.check_room(tenant, record.name)
        reference = await self._store.put(tenant, dump(fitted), MIME_TYPE, None)
        try:
            made = await self._recorded(tenant, replace(record, created=time.time(), reference=reference))
        except BaseException:
            with suppress(ServeError):
                await self._store.delete(tenant, reference)
            raise
        with suppress(ServeError):  # the next to be fitted tries again
            for version in (await self._versions(tenant, made.name))[: -self._most_versions]:
                await self._drop(tenant, made.name, version)
        return made

    async def _recorded(self, tenant: str, record: SoundRecord) -> SoundRecord:
        version = max(await self._versions(tenant, record.name), default=0)
        while True:
            version += 1
            made = replace(record, version=version)
            try:
                await self._store.create_record(tenant, _KIND, _path(made.name, version), asdict(made))
            except AlreadyExists:
                continue
            return made

    async def last(self, tenant: str) -> list[SoundRecord]:
        """Each model in its last version, by name; a version whose record is damaged is passed over."""
        found: dict[str, SoundRecord] = {}
        for path, row in (await self._store.list_records(tenant, _KIND)).items():
            try:
                record = _RECORD.validate_python(row)
            except ValidationError:
                log.warning("the record of the sound model %s of %s is damaged", path, tenant)
                continue
            if record.name not in found or found[record.name].version < record.version:
                found[record.name] = record
        return [found[name] for name in sorted(found)]

    async def get(self, tenant: str, name: str, version: int) -> tuple[SoundRecord, Fitted]:
        """A model in one version; 0 for the last.

        Raises:
            NotFound: This tenant has no such model, or not in that version.
            FailedPrecondition: It is damaged, or of another release.
        """
        versions = await self._versions(tenant, name)
        if not versions:
            raise _missing(name)
        wanted = version or versions[-1]
        if wanted not in versions:
            raise NotFound(f"there is no version {wanted} of the sound model {name!r}", field="version")
        try:
            record = _RECORD.validate_python(await self._store.get_record(tenant, _KIND, _path(name, wanted)))
            return record, await self._fitted(tenant, record.reference)
        except (NotFound, InvalidArgument, ValidationError) as error:
            raise damaged() from error

    async def _fitted(self, tenant: str, reference: str) -> Fitted:
        key = tenant, reference
        if key not in self._cache:
            data = await self._store.read(tenant, reference, MAX_BYTES, "name")
            self._cache[key] = await asyncio.to_thread(parse, data)
        self._cache.move_to_end(key)
        fitted = self._cache[key]
        while len(self._cache) > self._cached:
            self._cache.popitem(last=False)
        return fitted

    async def delete(self, tenant: str, name: str) -> None:
        """Delete a model, all its versions, those that are damaged among them.

        Raises:
            NotFound: This tenant has no such model.
        """
        versions = await self._versions(tenant, name)
        if not versions:
            raise _missing(name)
        for version in versions:
            await self._drop(tenant, name, version)

    async def _drop(self, tenant: str, name: str, version: int) -> None:
        """Delete a version, its artefact first: what is broken off can be done again."""
        path = _path(name, version)
        with suppress(NotFound, InvalidArgument, ValidationError):  # there is no artefact that could be found
            record = _RECORD.validate_python(await self._store.get_record(tenant, _KIND, path))
            self._cache.pop((tenant, record.reference), None)
            await self._store.delete(tenant, record.reference)
        with suppress(NotFound):  # somebody else was quicker
            await self._store.delete_record(tenant, _KIND, path)

    async def _versions(self, tenant: str, name: str) -> list[int]:
        return sorted(version for found, version in await self._kept(tenant) if found == name)

    async def _kept(self, tenant: str) -> list[tuple[str, int]]:
        """The name and version of each record."""
        split = (path.rpartition(".") for path in await self._store.record_names(tenant, _KIND))
        return [(name, int(version)) for name, _, version in split if name and version.isdecimal()]


def _path(name: str, version: int) -> str:
    return f"{name}.{version}"


def _missing(name: str) -> NotFound:
    return NotFound(f"there is no sound model {name[:80]!r}", field="name")
