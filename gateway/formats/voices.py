"""The voices that requests name, OpenAI's among them."""

from polyphony.speech.v1.voices_pb2 import ListVoicesRequest

from gateway.clients import Clients

DEFAULT = ("", "default")

# OpenAI's voices, which applications name: each stands for the model's default unless a voice has that name.
OPENAI_VOICES = frozenset(
    "alloy ash ballad cedar coral echo fable marin nova onyx sage shimmer verse".split()  # noqa: SIM905
)


async def find_voice(clients: Clients, voice: str, model: str) -> tuple[str, str]:
    """The voice that a request names, and the id of the model that has it.

    Args:
        clients: The clients of the services.
        voice: The name of the voice.
        model: The id of the model that the request names; empty for the one that has the voice.

    Returns:
        The voice and the model; the model is empty for the default. The service refuses an unknown voice.

    Raises:
        ServeError: The voices could not be listed.
    """
    if voice in DEFAULT or (model and voice not in OPENAI_VOICES):
        return voice, model
    listed = await clients.voices.ListVoices(ListVoicesRequest(model=model))
    for row in listed.voices:
        if row.name == voice:
            return voice, row.model
    return ("default" if voice in OPENAI_VOICES else voice), model
