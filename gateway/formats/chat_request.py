"""A chat completion request in OpenAI's wire format as the contract's `ChatRequest`."""

import msgspec
from polyphony.gateway.v1.gateway_pb2 import ChatRequest, FileSearch, SpokenAnswer
from polyphony.type.v1.chat_pb2 import ChatMessage
from polyphony.type.v1.media_pb2 import Media
from polyphony.type.v1.text_format_pb2 import JsonObject, TextFormat

from gateway.media.resolver import FILE_PREFIX, InlineSource, decode_base64, parse_media_source
from gateway.schemas import chat as schema
from gateway.schemas.speech import MIME_TYPES
from servekit.errors import InvalidArgument

# The wire format's names for the fields of a `ChatRequest`, as for `rename_fields`.
FIELD_NAMES = {
    "messages.parts": "messages[].content[]",
    "messages.parts.image": "messages[].content[].image_url.url",
    "messages.parts.audio": "messages[].content[].input_audio.data",
    "format": "response_format",
    "file_search": "tools[0]",
    "file_search.vector_store_ids": "tools[0].vector_store_ids",
    "spoken": "audio",
    "spoken.voice": "audio.voice",
    "spoken.mime_type": "audio.format",
}
_ROLES = {
    schema.SystemMessage: ChatMessage.ROLE_SYSTEM,
    schema.DeveloperMessage: ChatMessage.ROLE_SYSTEM,
    schema.UserMessage: ChatMessage.ROLE_USER,
    schema.AssistantMessage: ChatMessage.ROLE_ASSISTANT,
}


def parse_request(body: schema.ChatRequest) -> ChatRequest:
    """Convert a request.

    Raises:
        InvalidArgument: The request asks for a feature that is not supported, or the source of a medium is invalid.
    """
    _refuse_unsupported(body)
    audio = body.audio or schema.AudioOptions()
    request = ChatRequest(
        model=body.model,
        max_tokens=body.max_completion_tokens or body.max_tokens or 0,
        stop=[body.stop] if isinstance(body.stop, str) else body.stop,
        temperature=body.temperature,
        top_p=body.top_p,
        seed=body.seed,
        format=_format(body),
        file_search=None if body.tool_choice == "none" else _file_search(body),
        spoken=SpokenAnswer(voice=audio.voice, mime_type=MIME_TYPES[audio.format]) if _wants_audio(body) else None,
    )
    for index, message in enumerate(body.messages):
        # Filled in place: to assign a message copies the bytes of its media.
        _add_parts(message, request.messages.add(role=_ROLES[type(message)]), f"messages[{index}]")
    return request


def _refuse_unsupported(body: schema.ChatRequest) -> None:
    """Refuse, by name, the features of OpenAI's interface that are not supported."""
    refused = {
        "n": body.n not in (None, 1),
        "logprobs": bool(body.logprobs),
        "presence_penalty": bool(body.presence_penalty),
        "frequency_penalty": bool(body.frequency_penalty),
        "tools": any(not isinstance(tool, schema.FileSearchTool) for tool in body.tools or ()),
    }
    for name, unsupported in refused.items():
        if unsupported:
            reason = "only tools of type file_search are supported" if name == "tools" else "this is not supported"
            raise InvalidArgument(f"{name}: {reason}", field=name)
    if len(body.tools or ()) > 1:
        raise InvalidArgument("all vector stores must be in one file_search tool", field="tools[1]")


def _add_parts(message: schema.Message, to: ChatMessage, field: str) -> None:
    if isinstance(message.content, str):
        if message.content:
            to.parts.add(text=message.content)
        return
    for index, part in enumerate(message.content or ()):
        part_field = f"{field}.content[{index}]"
        match part:
            case schema.TextContent():
                to.parts.add(text=part.text)
            case schema.RefusalContent():
                to.parts.add(text=part.refusal)
            case schema.ImageContent():
                _set_media(to.parts.add().image, part.image_url.url, f"{part_field}.image_url.url")
            case schema.AudioContent():
                audio = part.input_audio
                _set_media(to.parts.add().audio, audio.data, f"{part_field}.input_audio.data", f"audio/{audio.format}")


def _set_media(media: Media, source: str, field: str, mime_type: str = "") -> None:
    """Set a medium to a data URL, an http(s) URL, a file id or, where its media type is given, plain base64."""
    is_base64 = mime_type and not source.startswith(("data:", "http://", "https://", FILE_PREFIX))
    parsed = decode_base64(source, mime_type, field) if is_base64 else parse_media_source(source, field)
    if isinstance(parsed, InlineSource):
        media.inline, media.mime_type = parsed.data, parsed.mime_type
    else:
        media.uri = source


def _format(body: schema.ChatRequest) -> TextFormat | None:
    match body.response_format:
        case schema.JsonForm():
            return TextFormat(json_object=JsonObject())
        case schema.SchemaForm(json_schema=json_schema):
            return TextFormat(json_schema=msgspec.json.encode(json_schema.schema).decode())
    return None


def _file_search(body: schema.ChatRequest) -> FileSearch | None:
    for tool in body.tools or ():
        if isinstance(tool, schema.FileSearchTool):
            return FileSearch(vector_store_ids=tool.vector_store_ids, max_results=tool.max_num_results or 0)
    return None


def _wants_audio(body: schema.ChatRequest) -> bool:
    return "audio" in (body.modalities or ())
