"""The voices that callers name, OpenAI's among them."""

from polyphony.speech.v1.voices_pb2 import ListVoicesRequest

from gateway.clients import Clients

DEFAULT = ("", "default")

# Voices of OpenAI's API, whose applications name them: here each is the model's own, unless a voice is so called.
OPENAI_VOICES = frozenset(
    "alloy ash ballad cedar coral echo fable marin nova onyx sage shimmer verse".split()  # noqa: SIM905
)


async def find_voice(clients: Clients, voice: str, model: str) -> tuple[str, str]:
    """The voice that a caller means, and the id of the model that speaks with it.

    Args:
        clients: The services.
        voice: Its name.
        model: The id of the model that the caller names; empty for the one that has the voice.

    Returns:
        Both names, the second empty for the default model. What nobody is called stays: the service refuses it.

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
