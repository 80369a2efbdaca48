"""VoiceCatalogue: those of the models, and those that a tenant has made of recordings of somebody who agrees.

A name is given once: another voice of the same name is refused, not overwritten. With the voice goes its recording.
"""

import time
from collections.abc import Awaitable, Callable

from google.protobuf.timestamp_pb2 import Timestamp
from polyphony.speech.v1 import voices_pb2 as pb

from servekit.media.objects import ObjectStore
from servekit.models.repository import Models
from servekit.rpc.bounds import check_name
from servekit.rpc.errors import AlreadyExists, InvalidArgument, NotFound, TooLarge, Unimplemented
from servekit.scheduling.stream import StreamScheduler
from services.speech.settings import SpeechSettings
from services.speech.synthesis import Reference, Speaker, Synthesizer
from services.speech.synthesis.catalogue_voices import CatalogueVoices
from services.speech.synthesis.scripts import language_of
from services.speech.voices.references import ReferenceAudio, References
from services.speech.voices.store import VoiceRecord, VoiceStore

Speaking = StreamScheduler[Synthesizer]
WriteDown = Callable[[ReferenceAudio, str], Awaitable[tuple[str, str]]]

MAX_STATEMENT = 2000  # characters
_DEFAULT = ("", "default")


class VoiceCatalogue:
    """The voices that a caller can speak with.

    Args:
        schedulers: The models that speak.
        store: Where tenants' voices are kept.
        references: Reads the recordings that voices are made of.
        write_down: The text of a recording and its language, where the caller does not say.
        catalogue_voices: Which profiles can make voices, for those that cannot.
        settings: How many voices a tenant may have.
    """

    def __init__(
        self,
        schedulers: Models[Speaking],
        store: ObjectStore,
        references: References,
        write_down: WriteDown,
        catalogue_voices: CatalogueVoices,
        settings: SpeechSettings,
    ) -> None:
        self._schedulers = schedulers
        self._store = VoiceStore(store, settings.max_voices)
        self._references = references
        self._write_down = write_down
        self._catalogue_voices = catalogue_voices

    async def choose(self, model: str, voice: str, language: str, text: str) -> tuple[Speaking, Speaker]:
        """Who speaks a text, and on which scheduler.

        Args:
            model: A model id; empty for the one that has the voice.
            voice: Its name; empty or `default` for the model's own.
            language: ISO 639-1; empty for the first of the voice's that has the text's letters.

        Raises:
            NotFound: There is no such model, or the tenant has no such voice.
            InvalidArgument: The model does not speak with that voice, or the voice not that language.
            FailedPrecondition: The tenant's voice is damaged.
        """
        schedulers = [self._schedulers.get(model)] if model else [self._schedulers.get(""), *self._schedulers]
        for scheduler in schedulers:
            for row in scheduler.model.voices:
                if voice in (*_DEFAULT, row.name):
                    return scheduler, Speaker(row.name, _language(row.name, row.languages, language, text))
        if voice in _DEFAULT:
            raise InvalidArgument(f"{schedulers[0].spec.id} has no voice of its own: name one of yours", field="voice")
        record, recording = await self._made(voice, schedulers)
        scheduler = self._schedulers.get(record.model, field="voice")
        if scheduler not in schedulers:
            raise InvalidArgument(f"{voice!r} is spoken by {record.model}: ask for that model", field="voice")
        speaks = _language(voice, scheduler.model.cloned_languages, language, text)
        return scheduler, Speaker("", speaks, Reference(recording, record.text))

    async def known(self, request: pb.ListVoicesRequest) -> pb.ListVoicesResponse:
        """Each model's own, its default first, then the tenant's.

        Raises:
            NotFound: There is no such model.
        """
        schedulers = [self._schedulers.get(request.model)] if request.model else list(self._schedulers)
        own = [
            pb.Voice(name=row.name, model=scheduler.spec.id, languages=row.languages)
            for scheduler in schedulers
            for row in scheduler.model.voices
        ]
        by_id = {scheduler.spec.id: scheduler for scheduler in schedulers}
        records = await self._store.all()
        made = [_voice(name, record, by_id[record.model]) for name, record in records.items() if record.model in by_id]
        return pb.ListVoicesResponse(voices=[*own, *made])

    async def create(self, request: pb.CreateVoiceRequest) -> pb.CreateVoiceResponse:
        """Make a voice of a recording.

        Raises:
            Unimplemented: No model of this profile can; those profiles are named whose can.
            InvalidArgument: A field is wrong, or the recording is no 3 to 30 seconds of speech.
            AlreadyExists: There is a voice of this name.
            FailedPrecondition: The tenant has too many.
        """
        scheduler = self._cloning_scheduler(request.model)
        languages = scheduler.model.cloned_languages
        _check(request, languages)
        await self._check_free(request.name)
        spoken = await self._references.read(request.reference_audio, "reference_audio")
        text, language = request.reference_text.strip(), request.language
        if not text:
            text, language = await self._write_down(spoken, language)
        if language and language not in languages:
            raise InvalidArgument(
                f"{scheduler.spec.id} speaks {', '.join(languages)}, not {language}", field="language"
            )
        made = VoiceRecord(scheduler.spec.id, language, text, spoken.seconds, request.consent_statement, time.time())
        record = await self._store.add(request.name, made, spoken.recording)
        return pb.CreateVoiceResponse(voice=_voice(request.name, record, scheduler))

    async def delete(self, request: pb.DeleteVoiceRequest) -> pb.DeleteVoiceResponse:
        """Delete a voice of the tenant's, and its recording where no other voice is made of the same.

        Raises:
            NotFound: The tenant has no such voice.
        """
        await self._store.delete(request.name)
        return pb.DeleteVoiceResponse()

    def _cloning_scheduler(self, model: str) -> Speaking:
        schedulers = [self._schedulers.get(model)] if model else list(self._schedulers)
        for scheduler in schedulers:
            if scheduler.model.cloned_languages:
                return scheduler
        profiles = ", ".join(self._catalogue_voices.cloning_profiles()) or "none"
        who = f"{model} makes no voices" if model else "no model of this profile makes voices"
        raise Unimplemented(f"{who}; the profiles that have one that does: {profiles}", field="model")

    async def _check_free(self, name: str) -> None:
        if name in _DEFAULT or any(
            name == row.name for scheduler in self._schedulers for row in scheduler.model.voices
        ):
            raise AlreadyExists(f"a model has a voice {name!r}", field="name")
        await self._store.check_room(name)

    async def _made(self, name: str, schedulers: list[Speaking]) -> tuple[VoiceRecord, bytes]:
        try:
            return await self._store.get(name)
        except NotFound as error:
            known = dict.fromkeys(row.name for scheduler in schedulers for row in scheduler.model.voices)
            raise NotFound(f"{error.message}; there is {', '.join(('default', *known))}", field="voice") from None


def _voice(name: str, record: VoiceRecord, scheduler: Speaking) -> pb.Voice:
    created = Timestamp()
    created.FromMilliseconds(int(record.created * 1000))
    return pb.Voice(name=name, model=record.model, languages=scheduler.model.cloned_languages, create_time=created)


def _language(voice: str, languages: tuple[str, ...], asked: str, text: str) -> str:
    if asked and asked not in languages:
        raise InvalidArgument(f"the voice {voice} speaks {', '.join(languages)}, not {asked[:20]!r}", field="language")
    return asked or language_of(text, languages)


def _check(request: pb.CreateVoiceRequest, languages: tuple[str, ...]) -> None:
    check_name(request.name)
    if not request.consent:
        raise InvalidArgument("the speaker has to agree: consent has to be true", field="consent")
    if not request.consent_statement.strip():
        raise InvalidArgument("say who agreed, when and how", field="consent_statement")
    for field in ("consent_statement", "reference_text"):
        if len(getattr(request, field)) > MAX_STATEMENT:
            raise TooLarge(f"at most {MAX_STATEMENT} characters are accepted", field=field)
    if request.language and request.language not in languages:
        raise InvalidArgument(f"{', '.join(languages)} are spoken, not {request.language[:20]!r}", field="language")
