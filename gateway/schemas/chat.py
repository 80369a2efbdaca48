"""The bodies of `/v1/chat/completions`."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from gateway.schemas.media_text import MediaText
from gateway.schemas.metadata import Metadata
from gateway.schemas.report import Source, Step

# More messages or parts than any window holds are refused before they are parsed further.
MAX_MESSAGES = 1000
MAX_PARTS = 1000

Tokens = Annotated[int, Meta(ge=1, le=2**31 - 1)]


class Strict(Struct, forbid_unknown_fields=True, kw_only=True):
    """A request, or a part of one; unknown fields are refused."""


class TextContent(Strict, tag_field="type", tag="text"):
    """A text part."""

    text: str


class ImageUrl(Strict):
    """The source of an image: `url` is a data URL, an http(s) URL or a file id."""

    url: MediaText
    detail: Literal["auto", "low", "high", "original"] = "auto"


class ImageContent(Strict, tag_field="type", tag="image_url"):
    """An image part; the text in the image is recognized."""

    image_url: ImageUrl


class InputAudio(Strict):
    """The source of a recording: `data` is base64, a data URL, an http(s) URL or a file id."""

    data: MediaText
    format: Annotated[str, Meta(pattern="^[a-z0-9]{2,8}$")] = "wav"


class AudioContent(Strict, tag_field="type", tag="input_audio"):
    """An audio part; the recording is transcribed."""

    input_audio: InputAudio


class RefusalContent(Strict, tag_field="type", tag="refusal"):
    """A refusal in an earlier answer of the assistant."""

    refusal: str


UserContent = TextContent | ImageContent | AudioContent


class SystemMessage(Strict, tag_field="role", tag="system"):
    """The operator's instructions to the model."""

    content: str | Annotated[list[TextContent], Meta(max_length=MAX_PARTS)]
    name: str | None = None


class DeveloperMessage(Strict, tag_field="role", tag="developer"):
    """The operator's instructions under their newer name."""

    content: str | Annotated[list[TextContent], Meta(max_length=MAX_PARTS)]
    name: str | None = None


class UserMessage(Strict, tag_field="role", tag="user"):
    """A message of the user."""

    content: str | Annotated[list[UserContent], Meta(max_length=MAX_PARTS)]
    name: str | None = None


class AssistantMessage(Strict, tag_field="role", tag="assistant"):
    """An earlier answer of the model. Fields of answers other than `content` are accepted and ignored."""

    content: str | Annotated[list[TextContent | RefusalContent], Meta(max_length=MAX_PARTS)] | None = None
    name: str | None = None
    refusal: str | None = None
    audio: Raw | UnsetType = UNSET
    annotations: Raw | UnsetType = UNSET
    polyphony: Raw | UnsetType = UNSET


Message = SystemMessage | DeveloperMessage | UserMessage | AssistantMessage


class FileSearchTool(Strict, tag_field="type", tag="file_search"):
    """A search of vector stores with the last message."""

    vector_store_ids: Annotated[list[str], Meta(min_length=1, max_length=8)]
    max_num_results: Annotated[int, Meta(ge=1, le=50)] | None = None


class FunctionTool(Struct, tag_field="type", tag="function"):
    """A function of the caller; refused, because function calls are not supported."""


class TextForm(Strict, tag_field="type", tag="text"):
    """Asks for free text."""


class JsonForm(Strict, tag_field="type", tag="json_object"):
    """Asks for any JSON object."""


class JsonSchema(Strict):
    """A JSON Schema with a name."""

    schema: dict[str, Any]
    name: str = "answer"
    description: str | None = None
    strict: bool | None = None


class SchemaForm(Strict, tag_field="type", tag="json_schema"):
    """Asks for JSON that validates against a schema."""

    json_schema: JsonSchema


class StreamOptions(Strict):
    """What a stream has in addition to the answer: token usage at its end, and a chunk for each step that has ended."""

    include_usage: bool = False
    include_steps: bool = False
    include_obfuscation: bool | None = None


class AudioOptions(Strict):
    """How to synthesize the answer as speech."""

    voice: str = "default"
    format: Literal["wav", "mp3", "flac", "opus", "aac", "pcm16"] = "wav"


class ChatRequest(Strict):
    """A request for the assistant's next message of a conversation of text, images and recordings."""

    messages: Annotated[list[Message], Meta(min_length=1, max_length=MAX_MESSAGES)]
    model: str = ""
    max_completion_tokens: Tokens | None = None
    max_tokens: Tokens | None = None
    stop: str | Annotated[list[str], Meta(max_length=4)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    response_format: TextForm | JsonForm | SchemaForm | None = None
    tools: list[FileSearchTool | FunctionTool] | None = None
    modalities: list[Literal["text", "audio"]] | None = None
    audio: AudioOptions | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    # Accepted where they ask for nothing beyond the default behaviour.
    n: Annotated[int, Meta(ge=1)] | None = None
    tool_choice: Literal["auto", "none"] | None = None
    parallel_tool_calls: bool | None = None
    logprobs: bool | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    user: str | None = None
    metadata: Metadata | None = None
    store: bool | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None


class Usage(Struct):
    """Token counts by the model's own tokenizer."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Polyphony(Struct):
    """How an answer was composed.

    Attributes:
        steps: Every step, ordered by its start; times are in seconds.
        seconds: The time from the start of the request to the end of the answer.
        models: The models that took part.
        sources: The passages that were given to the model, with the numbers by which the answer cites them.
        degraded: The names of the steps that failed or overran their share of the deadline and were left out.
        prompt_version: The version of the prompt template.
    """

    steps: list[Step]
    seconds: float
    models: list[str]
    sources: list[Source]
    degraded: list[str]
    prompt_version: str


class SpokenMessage(Struct, omit_defaults=True):
    """A spoken answer, or a piece of it: `data` is base64 of the asked-for format."""

    id: str
    data: str | UnsetType = UNSET
    transcript: str | UnsetType = UNSET
    expires_at: int | UnsetType = UNSET


class AnswerMessage(Struct):
    """The message of the model."""

    content: str
    role: str = "assistant"
    refusal: None = None
    audio: SpokenMessage | UnsetType = UNSET


class Choice(Struct):
    """The only choice of an answer."""

    message: AnswerMessage
    finish_reason: str
    index: int = 0
    logprobs: None = None


class ChatCompletion(Struct):
    """A complete answer."""

    id: str
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    polyphony: Polyphony
    object: Literal["chat.completion"] = "chat.completion"


class ChunkDelta(Struct, omit_defaults=True):
    """What a chunk adds to the answer."""

    role: str | UnsetType = UNSET
    content: str | UnsetType = UNSET
    audio: SpokenMessage | UnsetType = UNSET


class ChunkChoice(Struct):
    """The next piece of the only choice."""

    delta: ChunkDelta
    finish_reason: str | None = None
    index: int = 0


class StepEnded(Struct):
    """A step of the pipeline that has ended: in a comment of the stream, or in a chunk's `polyphony`."""

    step: Step


class ChatChunk(Struct):
    """One event of a streamed answer; the last one carries `polyphony`, and `usage` where it was asked for."""

    id: str
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: Usage | UnsetType = UNSET
    polyphony: Polyphony | StepEnded | UnsetType = UNSET
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
