"""The messages of a chat, rewritten for upstreams that take less than OpenAI does.

Called only when a quirk meets a message it applies to; messages are decoded one level deep, the
rest stays bytes.
"""

from __future__ import annotations

import msgspec

from tokenmarket.adapters.kit.quirks import Quirks
from tokenmarket.core.requests import ChatBody

Fields = dict[str, msgspec.Raw]

_decode_messages = msgspec.json.Decoder(list[Fields]).decode
_decode_parts = msgspec.json.Decoder(list[dict[str, object]]).decode
_decode_text = msgspec.json.Decoder(str).decode
_encode = msgspec.json.Encoder().encode

_PLACEHOLDER = msgspec.Raw(b'" "')  # lost reasoning: DeepSeek and Moonshot accept one space


def needs_change(typed: ChatBody, quirks: Quirks, capabilities: dict[str, object]) -> bool:
    """Whether any quirk may apply; cheap, because it runs for every request."""
    if quirks.drop_nulls or quirks.assistant_drop or quirks.message_drop or quirks.merge_roles:
        return True
    back = quirks.reasoning_back and bool(capabilities.get("reasoning"))
    for message in typed.messages:
        if message.role == "developer" and not quirks.developer_role:
            return True
        if isinstance(message.content, list) and not quirks.content_lists:
            return True
        if back and message.tool_calls:
            return True
    return False


def rewrite(messages: msgspec.Raw, quirks: Quirks, capabilities: dict[str, object]) -> msgspec.Raw:
    """The ``messages`` member in the upstream's form."""
    rewritten: list[Fields] = []
    back = quirks.reasoning_back and bool(capabilities.get("reasoning"))
    for message in _decode_messages(messages):
        _one(message, quirks, back)
        if not (quirks.merge_roles and rewritten and _merged(rewritten[-1], message)):
            rewritten.append(message)
    return msgspec.Raw(_encode(rewritten))


def _one(message: Fields, quirks: Quirks, back: bool) -> None:
    role = _decode_text(message["role"])
    if role == "developer" and not quirks.developer_role:
        message["role"] = msgspec.Raw(b'"system"')
    if role != "tool":
        for name in quirks.message_drop:
            message.pop(name, None)
    if role == "assistant":
        for name in quirks.assistant_drop:
            message.pop(name, None)
        calls = bytes(message.get("tool_calls", msgspec.Raw()))
        if back and calls not in (b"", b"null", b"[]"):
            message.setdefault("reasoning_content", _PLACEHOLDER)
    if not quirks.content_lists and bytes(message.get("content", msgspec.Raw())).startswith(b"["):
        joined = _joined(message["content"])
        if joined is not None:
            message["content"] = msgspec.Raw(_encode(joined))
    if quirks.drop_nulls:
        for name in [name for name, value in message.items() if bytes(value) == b"null"]:
            del message[name]


def _joined(content: msgspec.Raw) -> str | None:
    """A part list of texts as one string; None when there is more in it than text."""
    texts: list[str] = []
    for part in _decode_parts(content):
        words = part.get("text")
        if part.get("type") != "text" or not isinstance(words, str):
            return None
        texts.append(words)
    return "\n".join(texts)


def _merged(before: Fields, message: Fields) -> bool:
    """Put a message into its neighbour of the same role; only where both are plain text."""
    if before.keys() != {"role", "content"} or message.keys() != before.keys():
        return False
    if bytes(before["role"]) != bytes(message["role"]):
        return False
    if not (bytes(before["content"]).startswith(b'"') and bytes(message["content"])[:1] == b'"'):
        return False
    joined = _decode_text(before["content"]) + "\n\n" + _decode_text(message["content"])
    before["content"] = msgspec.Raw(_encode(joined))
    return True
