"""(pure) What the sandbox answers to a chat: texts, reasoning, tool calls, and their counts.

Which kind of answer, in this order:
1. the last message is a tool's result -> a text that quotes it;
2. tool_choice names a tool, or is "required", or is "auto" (or absent) and a tool is mentioned
   -> tool calls. A tool is mentioned when the last user message contains its name, or as a whole
   word a part of its name (``get_weather`` by "weather"; parts like "get" do not count). All
   mentioned tools are called, the first only if parallel_tool_calls is false;
3. response_format asks for JSON -> a conforming document;
4. a text: of exactly the asked number of tokens; or the word that the prompt tells it to answer
   ("answer OK" -> "OK"); or some friendly facts about the request.

Prompt tokens: 3, and for each message 4 and its texts, names and tool calls; the bytes of ``tools``
and ``response_format``; an image, audio or file part 16 and 1 per KiB of its address or base64, at
most 1,500. Every number above is smaller than the bytes that cause it.
"""

from __future__ import annotations

import re
import zlib
from itertools import islice

import msgspec

from tokenmarket.sandbox import schema, tokens
from tokenmarket.sandbox.behaviour import TOKENS_MAX, Behaviour
from tokenmarket.sandbox.bodies import (
    ChatBody,
    Message,
    Part,
    Refused,
    ResponseFormat,
    Tool,
    ToolChoice,
    read,
)

_CALLS_MAX = 8
_MEDIA_TOKENS_MAX = 1_500
_TOOLS = msgspec.json.Decoder(list[Tool] | None)
_FORMAT = msgspec.json.Decoder(ResponseFormat | None)

# Parts of tool names that say nothing about the topic.
_COMMON_WORDS = (
    "call current fetch find from function get list look lookup make query run search set the tool "
    "tools use with"
)
_COMMON = frozenset(_COMMON_WORDS.split())
_NAME_PARTS = re.compile(r"[A-Z]?[a-z]{3,}|[A-Z]{3,}|[一-鿿]{2,}")
_ASKED_WORD = re.compile(
    r"(?:\b(?:answer|reply|respond|say|return|output)(?: (?:only|just|exactly|with|back|the word|"
    r"the single word|a single word))*|(?:回答|回复|回覆|输出|说))\s*[:：]?\s*"
    r"(?:[\"'“「`]([^\"'”」`\n]{1,80})[\"'”」`]|([\w.+-]*\w)(?=\s*(?:[.!?。！？]|$)))",
    re.IGNORECASE,
)
_EFFORT_TOKENS = {
    "none": 0,
    "minimal": 8,
    "low": 16,
    "medium": 48,
    "high": 128,
    "xhigh": 256,
    "max": 512,
}


class Call(msgspec.Struct):
    """One tool call; ``pieces`` joined are its arguments (JSON) or, if custom, its input."""

    id: str
    name: str
    pieces: list[str]
    custom: bool = False


class Choice(msgspec.Struct):
    """One choice: tokens of the reasoning and of the text, or tool calls."""

    reasoning: list[str]
    content: list[str]
    calls: list[Call]
    finish: str

    @property
    def tokens(self) -> int:
        """All completion tokens of this choice; a tool call counts its name, too."""
        called = sum(len(call.pieces) + tokens.count(call.name) for call in self.calls)
        return len(self.reasoning) + len(self.content) + called


class Answer(msgspec.Struct):
    """A whole answer with its counts; ``completion_tokens`` include the reasoning's."""

    choices: list[Choice]
    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int


def chat(body: ChatBody, asked: Behaviour) -> Answer:
    """Answers; the same whether it is streamed or not. The last message is the seed of whatever is
    free to vary. Raises Refused for what OpenAI refuses as well.
    """
    _check(body)
    offered: list[Tool] = (read(_TOOLS, body.tools, "tools") if body.tools else None) or []
    wanted = (
        read(_FORMAT, body.response_format, "response_format") if body.response_format else None
    )
    prompt_tokens = _prompt_tokens(body)
    last = body.messages[-1]
    seed = zlib.crc32(last.text().encode())
    called = [] if last.role in ("tool", "function") else _called(body, offered)
    limit = body.max_completion_tokens or body.max_tokens
    choices: list[Choice] = []
    for index in range(body.n or 1):
        reasoning = _reasoning(body, seed + index)
        if called:
            choice = _call_choice(called, reasoning, limit, seed + index)
        else:
            text, free = _text(body, wanted, asked, prompt_tokens, seed, index)
            choice = text_choice(text, reasoning, limit, body.stop if free else None)
        choices.append(choice)
    return Answer(
        choices,
        prompt_tokens,
        sum(choice.tokens for choice in choices),
        sum(len(choice.reasoning) for choice in choices),
    )


def text_choice(
    text: str, reasoning: list[str], limit: int | None, stop: str | list[str] | None
) -> Choice:
    """Cuts a text by ``limit`` (tokens, reasoning included) and by the first stop sequence."""
    reasoning = reasoning[:limit]
    pieces = tokens.split(text)
    room = None if limit is None else limit - len(reasoning)
    finish = "stop"
    if room is not None and len(pieces) > room:
        pieces = pieces[:room]
        finish = "length"
    if stop:
        shown = "".join(pieces)
        ends = [shown.find(end) for end in ([stop] if isinstance(stop, str) else stop) if end]
        found = [end for end in ends if end >= 0]
        if found:
            pieces = tokens.split(shown[: min(found)])
            finish = "stop"
    return Choice(reasoning, pieces, [], finish)


def plain_text(prompt: str, prompt_tokens: int, asked: Behaviour, choices: int, seed: int) -> str:
    """Rule 4 of the module: ``prompt`` is the last user text."""
    if asked.tokens is not None:
        return tokens.filler(min(asked.tokens, max(1, TOKENS_MAX // choices)), seed)
    word = _ASKED_WORD.search(prompt[-400:])
    if word is not None:
        return word.group(1) or word.group(2)
    begins = " ".join(prompt[:120].split())[:60]
    if re.search(r"[一-鿿]", begins):
        return (
            "这里是 TokenMarket 沙盒，没有真实模型参与，相同的请求总是得到相同的回答。"
            f"最后一条消息有 {len(prompt)} 个字符，开头是“{begins}”。"
            f"整个请求共 {prompt_tokens} 个 token。"
        )
    return (
        "This is the TokenMarket sandbox: no real model took part, and the same request always "
        f"gets the same answer. The last message has {len(prompt)} characters and begins "
        f'"{begins}". The whole prompt has {prompt_tokens} tokens.'
    )


def _check(body: ChatBody) -> None:
    """The combinations that OpenAI refuses, so that a gateway which sends them is noticed."""
    if body.max_tokens is not None and body.max_completion_tokens is not None:
        raise Refused(
            "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.",
            param="max_tokens",
        )
    if body.stream_options is not None and not body.stream:
        raise Refused(
            "'stream_options' is only allowed when 'stream' is true.", param="stream_options"
        )
    if body.top_logprobs is not None and not body.logprobs:
        raise Refused("'top_logprobs' needs 'logprobs' to be true.", param="top_logprobs")
    if body.modalities is not None and body.modalities != ["text"]:
        raise Refused("The sandbox answers chats with text only.", param="modalities")


def _prompt_tokens(body: ChatBody) -> int:
    total = 3 + 4 * len(body.messages)
    texts: list[str] = [bytes(raw).decode() for raw in (body.tools, body.response_format) if raw]
    for message in body.messages:
        texts += (message.name or "", message.reasoning_content or "")
        if isinstance(message.content, str):
            texts.append(message.content)
        for part in message.content or () if not isinstance(message.content, str) else ():
            texts.append(part.text or part.refusal or "")
            total += _media_tokens(part)
        for call in message.tool_calls or ():
            named = call.function or call.custom
            if named is not None:
                texts += (named.name, named.arguments, named.input)
    return total + tokens.count_all(texts)


def _media_tokens(part: Part) -> int:
    if part.image_url is not None:
        size = len(part.image_url.url)
    elif part.input_audio is not None:
        size = len(part.input_audio.data)
    elif part.file is not None:
        size = len(part.file.file_data)
    else:
        return 0
    return min(16 + size // 1024, _MEDIA_TOKENS_MAX)


def _last_user_text(messages: list[Message]) -> str:
    for message in reversed(messages):
        if message.role == "user":
            return message.text()
    return messages[-1].text()


def _called(body: ChatBody, offered: list[Tool]) -> list[Tool]:
    """Rule 2 of the module: which tools are called, none for a text."""
    choice = body.tool_choice if body.tool_choice is not None else "auto"
    if isinstance(choice, ToolChoice) and choice.allowed_tools is not None:
        names = {tool.named.name for tool in choice.allowed_tools.tools}
        offered = [tool for tool in offered if tool.named.name in names]
        choice = choice.allowed_tools.mode
    if isinstance(choice, ToolChoice):
        return [_chosen(choice, offered)]
    if choice not in ("none", "auto", "required"):
        raise Refused(f"Invalid value: '{choice[:100]}'.", param="tool_choice")
    if choice == "required" and not offered:
        raise Refused("'tool_choice' needs 'tools'.", param="tool_choice")
    if choice == "none" or not offered:
        return []
    asked = _last_user_text(body.messages).lower()
    words = set(re.findall(r"[a-z]{3,}", asked))
    mentioned = [tool for tool in offered if _mentioned(tool.named.name, asked, words)]
    if not mentioned and choice == "required":
        mentioned = offered[:1]
    return mentioned[: 1 if body.parallel_tool_calls is False else _CALLS_MAX]


def _chosen(choice: ToolChoice, offered: list[Tool]) -> Tool:
    named = choice.custom if choice.type == "custom" else choice.function
    for tool in offered:
        if named is not None and tool.named.name == named.name:
            return tool
    raise Refused("'tool_choice' names no tool of 'tools'.", param="tool_choice")


def _mentioned(name: str, asked: str, words: set[str]) -> bool:
    if name.lower() in asked:
        return True
    parts = {part.lower() for part in _NAME_PARTS.findall(name)} - _COMMON
    return any(part in words if part.isascii() else part in asked for part in parts)


def _call_choice(called: list[Tool], reasoning: list[str], limit: int | None, seed: int) -> Choice:
    reasoning = reasoning[:limit]
    left = TOKENS_MAX if limit is None else limit - len(reasoning)
    calls: list[Call] = []
    for index, tool in enumerate(called):
        name = tool.named.name
        left -= tokens.count(name)
        if left < 0:
            break
        pieces = tokens.split(_arguments(tool, seed + index))
        ident = f"call_{zlib.crc32(name.encode(), seed + index):08x}{index:02d}"
        calls.append(Call(ident, name, pieces[:left], tool.type == "custom"))
        left -= len(pieces)
        if left < 0:
            break
    return Choice(reasoning, [], calls, "length" if left < 0 else "tool_calls")


def _arguments(tool: Tool, seed: int) -> str:
    if tool.type == "custom":
        return "sandbox input"
    try:
        made = schema.conforming(tool.named.parameters or {"type": "object"}, seed)
    except Refused as error:
        raise Refused(
            f"Invalid parameters of the tool '{tool.named.name[:100]}': {error.message}",
            param="tools",
            code=error.code,
        ) from None
    return msgspec.json.encode(made).decode()


def _text(
    body: ChatBody,
    wanted: ResponseFormat | None,
    asked: Behaviour,
    prompt_tokens: int,
    seed: int,
    index: int,
) -> tuple[str, bool]:
    """The text, and whether stop sequences may cut it (never inside JSON)."""
    last = body.messages[-1]
    if wanted is not None and wanted.type == "json_schema":
        if wanted.json_schema is None or wanted.json_schema.schema is None:
            raise Refused("A schema is missing.", param="response_format.json_schema.schema")
        made = schema.conforming(wanted.json_schema.schema, seed + index)
        return msgspec.json.encode(made).decode(), False
    if last.role in ("tool", "function"):
        text = (
            f"The tool {_tool_name(body.messages)} answered: {' '.join(last.text().split())[:400]}"
        )
    else:
        prompt = _last_user_text(body.messages)
        text = plain_text(prompt, prompt_tokens, asked, body.n or 1, seed + index)
    if wanted is not None and wanted.type == "json_object":
        return msgspec.json.encode({"answer": text}).decode(), False
    return text, True


def _tool_name(messages: list[Message]) -> str:
    """Which tool the last message is the result of, by the id of the call."""
    last = messages[-1]
    for message in islice(reversed(messages), 1, None):
        for call in message.tool_calls or ():
            named = call.function or call.custom
            if call.id is not None and call.id == last.tool_call_id and named is not None:
                return named.name
    return last.name or "you called"


def _reasoning(body: ChatBody, seed: int) -> list[str]:
    if body.model != "sandbox-reasoner":
        return []
    effort = body.reasoning_effort or "medium"
    if effort not in _EFFORT_TOKENS:
        raise Refused(f"Invalid value: '{effort[:100]}'.", param="reasoning_effort")
    return tokens.split(tokens.filler(_EFFORT_TOKENS[effort], seed))
