"""The messages of a conversation: their roles, which parts a model takes, and what its chat template reserves."""

import re
from collections.abc import Collection, Mapping, Sequence

from polyphony.type.v1.chat_pb2 import ChatMessage, ContentPart

from servekit.chat.model import Role
from servekit.errors import InvalidArgument

ROLES: Mapping[int, Role] = {
    ChatMessage.ROLE_SYSTEM: "system",
    ChatMessage.ROLE_USER: "user",
    ChatMessage.ROLE_ASSISTANT: "assistant",
}

# Chat templates mark the borders of messages with control tokens such as `<|im_end|>`, and engines parse them wherever
# they occur. Without the space, a document could end its message and continue as the system.
CONTROL_TOKEN = re.compile(r"<(?=\|\w+\|>)")


def escape_control_tokens(text: str) -> str:
    """Change a text so that no part of it is parsed as a control token of a chat template."""
    return CONTROL_TOKEN.sub("< ", text)


def check_messages(messages: Sequence[ChatMessage], modalities: Collection[str], model: str) -> None:
    """Check the roles and the parts of a conversation.

    Args:
        messages: The conversation.
        modalities: The kinds of part that the model takes, such as `text` and `image`.
        model: The model's name, for the error message.

    Raises:
        InvalidArgument: A role is unknown, a part has no content, or its kind is not in `modalities`; the field at
            fault is named, such as `messages[0].parts[1].image`.
    """
    for index, message in enumerate(messages):
        field = f"messages[{index}]"
        if message.role not in ROLES:
            roles = ", ".join(ROLES.values())
            raise InvalidArgument(f"{field}.role must be one of {roles}, got {message.role}", field=f"{field}.role")
        for part_index, part in enumerate(message.parts):
            _check_part(part, modalities, model, f"{field}.parts[{part_index}]")


def _check_part(part: ContentPart, modalities: Collection[str], model: str, field: str) -> None:
    kind = part.WhichOneof("content")
    if kind is None:
        raise InvalidArgument(f"{field} must have content: text, image, audio or video", field=field)
    if kind not in modalities:
        taken = ", ".join(modalities)
        raise InvalidArgument(f"{model} takes no {kind} parts, only {taken}", field=f"{field}.{kind}")
    if kind != "text" and getattr(part, kind).WhichOneof("source") is None:
        raise InvalidArgument(f"{field}.{kind} must have bytes or an address", field=f"{field}.{kind}")
    if part.max_tokens < 0 or (part.max_tokens and kind != "text"):
        least = "0 or more" if kind == "text" else f"0 for {kind}"
        raise InvalidArgument(f"{field}.max_tokens must be {least}, got {part.max_tokens}", field=f"{field}.max_tokens")
