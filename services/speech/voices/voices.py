"""The voices of the models, and the custom voices of tenants, created from recordings of consenting speakers.

Names are unique: a voice of an existing name is rejected. Deleting a voice also deletes its recording.
"""

import time
from io import BytesIO

from google.protobuf.timestamp_pb2 import Timestamp
from polyphony.speech.v1 import voices_pb2 as pb

from servekit.echo import cut
from servekit.errors import AlreadyExists, InvalidArgument, NotFound, TooLarge, Unimplemented
from servekit.media.audio import AudioLimits
from servekit.media.scripts import join
from servekit.rpc.bounds import check_name
from servekit.scheduling.stream import StreamScheduler
from servekit.tasks.repository import Models
from services.speech.audio.recording import Recording
from services.speech.synthesis import Reference, Speaker, Synthesizer
from services.speech.synthesis.catalogue_voices import CatalogueVoices
from services.speech.synthesis.scripts import language_of
from services.speech.transcription import TranscriptionOptions
from services.speech.transcription.transcription import LongFormTranscriber, collect
from services.speech.voices.references import ReferenceAudio, References
from services.speech.voices.store import VoiceRecord, VoiceStore

SynthesizerScheduler = StreamScheduler[Synthesizer]

MAX_STATEMENT = 2000  # characters
_DEFAULT = ("", "default")


class VoiceCatalogue:
    """The voices that a tenant can use.

    Args:
        schedulers: The schedulers of the synthesizers.
        store: The custom voices.
        references: Reads reference recordings.
        transcription: Transcribes a reference recording where the caller gives no text.
        catalogue_voices: Names the profiles with voice cloning in error messages.
    """

    def __init__(
        self,
        schedulers: Models[SynthesizerScheduler],
        store: VoiceStore,
        references: References,
        transcription: LongFormTranscriber,
        catalogue_voices: CatalogueVoices,
    ) -> None:
        self._schedulers = schedulers
        self._store = store
        self._references = references
        self._transcription = transcription
        self._catalogue_voices = catalogue_voices

    async def choose(self, model: str, voice: str, language: str, text: str) -> tuple[SynthesizerScheduler, Speaker]:
        """Choose the scheduler and the speaker for a text.

        Args:
            model: The id of the model; empty for the one that has the voice.
            voice: The name of the voice; empty or `default` for the default voice of the model.
            language: ISO 639-1 code; empty for the first language of the voice that has the letters of the text.
            text: The text.

        Raises:
            NotFound: No such model is loaded, or the tenant has no such voice.
            InvalidArgument: The model does not have the voice, or the voice does not support the language.
            FailedPrecondition: The custom voice is damaged.
        """
        schedulers = [self._schedulers.get(model)] if model else [self._schedulers.get(""), *self._schedulers]
        for scheduler in schedulers:
            for row in scheduler.model.voices:
                if voice in (*_DEFAULT, row.name):
                    return scheduler, Speaker(row.name, _language(row.name, row.languages, language, text))
        if voice in _DEFAULT:
            raise InvalidArgument(
                f"voice must name a custom voice: {schedulers[0].spec.id} has no built-in voice", field="voice"
            )
        record, recording = await self._custom(voice, schedulers)
        scheduler = self._schedulers.get(record.model, field="voice")
        if scheduler not in schedulers:
            raise InvalidArgument(f"voice {cut(voice)!r} requires the model {record.model}", field="voice")
        spoken_language = _language(voice, scheduler.model.cloned_languages, language, text)
        return scheduler, Speaker("", spoken_language, Reference(recording, record.text))

    async def list_voices(self, request: pb.ListVoicesRequest) -> pb.ListVoicesResponse:
        """List the built-in voices of each model, its default first, then the custom voices of the tenant.

        Raises:
            NotFound: No such model is loaded.
        """
        schedulers = [self._schedulers.get(request.model)] if request.model else list(self._schedulers)
        built_in = [
            pb.Voice(name=row.name, model=scheduler.spec.id, languages=row.languages)
            for scheduler in schedulers
            for row in scheduler.model.voices
        ]
        by_id = {scheduler.spec.id: scheduler for scheduler in schedulers}
        records = await self._store.all()
        custom = [
            _voice(name, record, by_id[record.model]) for name, record in records.items() if record.model in by_id
        ]
        return pb.ListVoicesResponse(voices=[*built_in, *custom])

    async def create(self, request: pb.CreateVoiceRequest) -> pb.CreateVoiceResponse:
        """Create a voice from a recording.

        Raises:
            Unimplemented: No model of this profile supports voice cloning; the message names the profiles that do.
            InvalidArgument: A field is invalid, or the recording does not have 3 to 30 seconds of speech.
            AlreadyExists: A voice of this name exists.
            FailedPrecondition: The tenant has the maximum number of voices.
        """
        scheduler = self._cloning_scheduler(request.model)
        languages = scheduler.model.cloned_languages
        _check(request, languages)
        await self._check_free(request.name)
        spoken = await self._references.read(request.reference_audio, "reference_audio")
        text, language = request.reference_text.strip(), request.language
        if not text:
            text, language = await self._transcribe(spoken, language)
        if language and language not in languages:
            raise InvalidArgument(
                f"language must be one of {', '.join(languages)} for {scheduler.spec.id}, got {cut(language)!r}",
                field="language",
            )
        custom = VoiceRecord(scheduler.spec.id, language, text, spoken.seconds, request.consent_statement, time.time())
        record = await self._store.add(request.name, custom, spoken.recording)
        return pb.CreateVoiceResponse(voice=_voice(request.name, record, scheduler))

    async def delete(self, request: pb.DeleteVoiceRequest) -> pb.DeleteVoiceResponse:
        """Delete a custom voice, and its recording unless another voice has the same.

        Raises:
            NotFound: The tenant has no such voice.
        """
        await self._store.delete(request.name)
        return pb.DeleteVoiceResponse()

    async def _transcribe(self, spoken: ReferenceAudio, language: str) -> tuple[str, str]:
        """The transcript of a reference recording, and its language, given or detected."""
        recording = Recording(BytesIO(spoken.recording), AudioLimits(), "reference_audio", spoken.seconds)
        started, segments, _ = await collect(
            self._transcription.transcribe(recording, TranscriptionOptions(language=language))
        )
        return join(segment.text for segment in segments), started.language

    def _cloning_scheduler(self, model: str) -> SynthesizerScheduler:
        schedulers = [self._schedulers.get(model)] if model else list(self._schedulers)
        for scheduler in schedulers:
            if scheduler.model.cloned_languages:
                return scheduler
        profiles = ", ".join(self._catalogue_voices.cloning_profiles()) or "none"
        subject = f"{cut(model)} does not support" if model else "no model of this profile supports"
        raise Unimplemented(f"{subject} voice cloning; profiles with a model that does: {profiles}", field="model")

    async def _check_free(self, name: str) -> None:
        if name in _DEFAULT or any(
            name == row.name for scheduler in self._schedulers for row in scheduler.model.voices
        ):
            raise AlreadyExists(f"{cut(name)!r} is the name of a built-in voice", field="name")
        await self._store.check_room(name)

    async def _custom(self, name: str, schedulers: list[SynthesizerScheduler]) -> tuple[VoiceRecord, bytes]:
        try:
            return await self._store.get(name)
        except NotFound as error:
            built_in = dict.fromkeys(row.name for scheduler in schedulers for row in scheduler.model.voices)
            raise NotFound(
                f"{error.message}; built-in voices: {', '.join(('default', *built_in))}", field="voice"
            ) from None


def _voice(name: str, record: VoiceRecord, scheduler: SynthesizerScheduler) -> pb.Voice:
    created = Timestamp()
    created.FromMilliseconds(int(record.created * 1000))
    return pb.Voice(name=name, model=record.model, languages=scheduler.model.cloned_languages, create_time=created)


def _language(voice: str, languages: tuple[str, ...], requested: str, text: str) -> str:
    if requested and requested not in languages:
        raise InvalidArgument(
            f"language must be one of {', '.join(languages)} for the voice {cut(voice)}, got {cut(requested)!r}",
            field="language",
        )
    return requested or language_of(text, languages)


def _check(request: pb.CreateVoiceRequest, languages: tuple[str, ...]) -> None:
    check_name(request.name)
    if not request.consent:
        raise InvalidArgument("consent must be true: the speaker must agree", field="consent")
    if not request.consent_statement.strip():
        raise InvalidArgument("consent_statement must state who agreed, when and how", field="consent_statement")
    for field in ("consent_statement", "reference_text"):
        if len(getattr(request, field)) > MAX_STATEMENT:
            raise TooLarge(f"{field} must have at most {MAX_STATEMENT} characters", field=field)
    if request.language and request.language not in languages:
        raise InvalidArgument(
            f"language must be one of {', '.join(languages)}, got {cut(request.language)!r}", field="language"
        )
