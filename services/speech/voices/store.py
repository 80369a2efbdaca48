"""The voices of every tenant: a record for each, and its recording in the object store."""

from dataclasses import dataclass, replace

from servekit.context import current
from servekit.media.bucket import Bucket
from services.speech.records import RecordTable
from services.speech.records.blob_records import BlobRecords

MAX_REFERENCE_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class VoiceRecord:
    """A voice of a tenant, as it is stored.

    Attributes:
        model: The id of the model that speaks with the voice.
        language: The language of the recording, ISO 639-1; empty where it is unknown.
        text: The transcript of the recording.
        seconds: The seconds of speech in the recording.
        consent_statement: Who agreed to the voice, when and how.
        created: When the voice was created, in seconds since 1970.
        reference: The name of the recording, WAV, in the object store.
    """

    model: str
    language: str
    text: str
    seconds: float
    consent_statement: str
    created: float
    reference: str = ""


class VoiceStore:
    """The voices of the current request's tenant.

    Args:
        bucket: Where the recordings are.
        records: Where the records are.
        max_voices: The maximum number of voices of a tenant.
    """

    def __init__(self, bucket: Bucket, records: RecordTable, max_voices: int) -> None:
        self._records = BlobRecords(bucket, records, "voice", VoiceRecord)
        self._max_voices = max_voices

    async def all(self) -> dict[str, VoiceRecord]:
        """Return the voices by name, except those whose record is damaged."""
        return await self._records.all(current().tenant)

    async def get(self, name: str) -> tuple[VoiceRecord, bytes]:
        """Return a voice and its recording.

        Raises:
            NotFound: The tenant has no such voice.
            FailedPrecondition: The voice is damaged.
        """
        tenant = current().tenant
        record = await self._records.get(tenant, name, "voice")
        return record, await self._records.read(tenant, name, record, MAX_REFERENCE_BYTES, "voice")

    async def check_room(self, name: str) -> None:
        """Check that a voice of this name can be created.

        Raises:
            AlreadyExists: The tenant has a voice of this name.
            FailedPrecondition: The tenant has the maximum number of voices.
        """
        names = await self._records.names(current().tenant)
        if name in names:
            raise self._records.exists(name)
        if len(names) >= self._max_voices:
            raise self._records.too_many(self._max_voices)

    async def add(self, name: str, record: VoiceRecord, recording: bytes) -> VoiceRecord:
        """Create a voice, whole or not at all; of several calls with one name at once, one succeeds.

        Raises:
            AlreadyExists: The tenant has a voice of this name.
            FailedPrecondition: The tenant has the maximum number of voices.
        """
        tenant = current().tenant
        async with self._records.blob(tenant, recording) as reference:
            created = replace(record, reference=reference)
            await self._records.create(tenant, name, created, self._max_voices)
        return created

    async def delete(self, name: str) -> None:
        """Delete a voice, damaged or not, and its recording.

        Raises:
            NotFound: The tenant has no such voice.
        """
        await self._records.delete(current().tenant, name)

    async def sweep(self, now: float) -> int:
        """Delete recordings without a record: see `BlobRecords.sweep`."""
        return await self._records.sweep(now)
