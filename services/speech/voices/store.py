"""The voices of every tenant: a record `voice/<name>` for each, its recording in the object store beside it."""

import asyncio
import logging
from contextlib import suppress
from dataclasses import asdict, dataclass, replace

from pydantic import TypeAdapter, ValidationError

from servekit.media.objects import ObjectStore
from servekit.rpc.context import current
from servekit.rpc.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, ServeError

log = logging.getLogger(__name__)

MAX_REFERENCE_BYTES = 8 << 20
_KIND = "voice"


@dataclass(frozen=True, slots=True)
class VoiceRecord:
    """A voice of a tenant's, as it is kept.

    Attributes:
        model: The id of the model that speaks with it.
        language: What is spoken in the recording; empty where nobody said and nobody heard.
        text: What is said in it.
        seconds: Of speech in it.
        consent_statement: Who agreed, when and how.
        created: Seconds since 1970.
        reference: The recording, WAV, in the object store.
    """

    model: str
    language: str
    text: str
    seconds: float
    consent_statement: str
    created: float
    reference: str = ""


_RECORD = TypeAdapter(VoiceRecord)


class VoiceStore:
    """Keeps those of the current call's tenant.

    Args:
        store: Where.
        most: How many a tenant may have.
    """

    def __init__(self, store: ObjectStore, most: int) -> None:
        self._store, self._most = store, most
        self._naming = asyncio.Lock()

    async def all(self) -> dict[str, VoiceRecord]:
        """The voices by name, but for those whose record is damaged."""
        tenant = current().tenant
        records: dict[str, VoiceRecord] = {}
        for name, row in (await self._store.list_records(tenant, _KIND)).items():
            try:
                records[name] = _RECORD.validate_python(row)
            except ValidationError:
                log.warning("the record of the voice %s of %s is damaged", name, tenant)
        return records

    async def get(self, name: str) -> tuple[VoiceRecord, bytes]:
        """A voice and its recording.

        Raises:
            NotFound: The tenant has no such voice.
            FailedPrecondition: It is damaged.
        """
        tenant = current().tenant
        if name not in await self._store.record_names(tenant, _KIND):
            raise NotFound(f"there is no voice {name[:80]!r}", field="voice")
        try:
            record = _RECORD.validate_python(await self._store.get_record(tenant, _KIND, name))
            return record, await self._store.read(tenant, record.reference, MAX_REFERENCE_BYTES, "voice")
        except (NotFound, InvalidArgument, ValidationError) as error:
            message = f"the voice {name!r} is damaged: delete it and make it again"
            raise FailedPrecondition(message, field="voice") from error

    async def check_room(self, name: str) -> None:
        """Check that a voice of this name can be kept.

        Raises:
            AlreadyExists: There is one.
            FailedPrecondition: There are too many.
        """
        names = await self._store.record_names(current().tenant, _KIND)
        if name in names:
            raise _taken(name)
        if len(names) >= self._most:
            raise FailedPrecondition(f"there are {len(names)} voices, no more are kept: delete one", field="name")

    async def add(self, name: str, record: VoiceRecord, recording: bytes) -> VoiceRecord:
        """Keep a voice, or nothing of it: of several of one name at once, one.

        Raises:
            AlreadyExists: There is one of this name.
            FailedPrecondition: There are too many.
        """
        tenant = current().tenant
        async with self._naming:
            await self.check_room(name)
            made = replace(record, reference=await self._store.put(tenant, recording, "audio/wav", None))
            try:
                await self._store.create_record(tenant, _KIND, name, asdict(made))
            except AlreadyExists:
                await self._forget(made.reference)
                raise _taken(name) from None
            except BaseException:
                await self._forget(made.reference)
                raise
        return made

    async def delete(self, name: str) -> None:
        """Delete a voice, damaged or not, and its recording where no other voice is made of the same.

        Raises:
            NotFound: The tenant has no such voice.
        """
        tenant = current().tenant
        async with self._naming:
            if name not in await self._store.record_names(tenant, _KIND):
                raise NotFound(f"there is no voice {name[:80]!r}", field="name")
            if record := (await self.all()).get(name):
                with suppress(NotFound, InvalidArgument):  # it is not there, or was never anywhere
                    await self._remove(record.reference, name)
            await self._store.delete_record(tenant, _KIND, name)

    async def _forget(self, reference: str) -> None:
        """Remove the recording of a voice that did not come to be."""
        try:
            await self._remove(reference)
        except ServeError as error:
            log.warning("the recording %s stays, of no voice: %s", reference, error.message)

    async def _remove(self, reference: str, voice: str = "") -> None:
        """Remove a recording, unless another voice than this is made of it."""
        if all(other.reference != reference for name, other in (await self.all()).items() if name != voice):
            await self._store.delete(current().tenant, reference)


def _taken(name: str) -> AlreadyExists:
    return AlreadyExists(f"there is a voice {name!r}: delete it first, or choose another name", field="name")
