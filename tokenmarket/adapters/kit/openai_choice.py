"""One choice of an answer or of a stream chunk, brought to OpenAI's shape in place.

``ChoiceCleaner`` keeps what a stream must remember between chunks of one choice: which tool calls
have begun, whether ``<think>`` is open. A whole answer is cleaned by a fresh one. Every step
reports whether it changed anything, so that untouched choices can be passed on as the bytes they
came in.
"""

from __future__ import annotations

import msgspec

from tokenmarket.adapters.kit.quirks import FINISH, FINISH_FAILED, Quirks
from tokenmarket.adapters.kit.shape import mapping, sequence, text
from tokenmarket.adapters.kit.think import ThinkSplitter
from tokenmarket.core.errors import UpstreamError

Members = dict[str, object]

_encode = msgspec.json.Encoder().encode

# Vendor members beside OpenAI's: other names of the finish reason, token ids, filters, timings.
EXTRAS = frozenset(
    {
        "content_filter_result",
        "content_filter_results",
        "finish_details",
        "matched_stop",
        "native_finish_reason",
        "prompt_logprobs",
        "prompt_token_ids",
        "seed",
        "stop_reason",
        "token_ids",
        "usage",
    }
)
BODY_EXTRAS = frozenset({"provider_metadata", "token_id", "channel"})
_PLAIN_FINISH = frozenset({"stop", "length", "tool_calls", "content_filter", "function_call"})


class ChoiceCleaner:
    """State of the choice ``index``; ids we have to invent are made from ``answer_id``."""

    def __init__(self, quirks: Quirks, answer_id: str, index: int, *, streamed: bool) -> None:
        self._quirks = quirks
        self._answer_id = answer_id
        self._index = index
        self._streamed = streamed
        self._think = ThinkSplitter() if quirks.think_tags else None
        self._calls: list[str] = []  # ids of the tool calls that have begun, in order
        self._open: dict[int, int] = {}  # the upstream's index -> ours
        self._last = -1
        self.finish_reason: str | None = None
        self.began_call = False  # did the last choice begin a tool call?

    @property
    def settled(self) -> bool:
        """Whether equal chunks give equal results from here on (no tag can be open)."""
        return self._think is None or self._think.settled

    def may_finish(self, word: str | None) -> bool:
        """Whether a finish reason of OpenAI's own needs no change in this choice."""
        return not (word == "stop" and self._calls and self._quirks.stop_means_tools)

    def clean(self, choice: Members) -> bool:
        """Chat. Raises UpstreamError for a finish reason that reports a failure."""
        key, other = ("delta", "message") if self._streamed else ("message", "delta")
        changed = _drop(choice, EXTRAS)
        self.began_call = False
        if not isinstance(choice.get(key), dict):
            choice[key] = {} if self._streamed else dict(mapping(choice.get(other)))
            changed = True
        members = mapping(choice[key])
        for name in (other, "text"):
            if name in choice:
                del choice[name]
                changed = True
        changed |= self._reasoning(members)
        content = members.get("content")
        if isinstance(content, list):
            _split_parts(members)
            changed = True
        elif content is not None and not isinstance(content, str):
            members["content"] = _encode(content).decode()  # Cloudflare: the object itself
            changed = True
        if self._think is not None:
            changed |= self._split_tags(members)
        if members.get("tool_calls") is not None:
            changed |= self._tool_calls(members)
        changed |= self._finish(choice)
        if self._think is not None and self.finish_reason is not None:
            changed |= self._flush_tags(members)
        if not self._streamed and not (text(members.get("role")) and "content" in members):
            members["role"] = "assistant"
            members.setdefault("content", None)
            changed = True
        return changed

    def clean_text(self, choice: Members) -> bool:
        """Legacy completions: the same without a message."""
        changed = _drop(choice, EXTRAS)
        if not isinstance(choice.get("text"), str):
            choice["text"] = ""
            changed = True
        return self._finish(choice) or changed

    def flush(self) -> Members | None:
        """A delta with what a stream that just ends still owes; None when nothing is held back."""
        members: Members = {}
        if self._think is None or not self._flush_tags(members):
            return None
        return members

    def _reasoning(self, members: Members) -> bool:
        """``reasoning`` (Groq, OpenRouter, vLLM, Ollama) becomes ``reasoning_content``."""
        changed = _drop(members, BODY_EXTRAS)
        if "reasoning" not in members:
            return changed
        words = members.pop("reasoning")
        if isinstance(words, str) and not members.get("reasoning_content"):
            members["reasoning_content"] = words
        return True

    def _split_tags(self, members: Members) -> bool:
        piece = members.get("content")
        if self._think is None or not isinstance(piece, str) or not piece:
            return False
        reasoning, content = self._think.feed(piece)
        if not self._streamed:
            more_reasoning, more = self._think.flush()
            reasoning, content = reasoning + more_reasoning, content + more
        _append(members, "reasoning_content", reasoning)
        members["content"] = content
        return content != piece

    def _flush_tags(self, members: Members) -> bool:
        reasoning, content = self._think.flush() if self._think is not None else ("", "")
        _append(members, "reasoning_content", reasoning)
        _append(members, "content", content)
        return bool(reasoning or content)

    def _tool_calls(self, members: Members) -> bool:
        calls = sequence(members["tool_calls"])
        if not calls:
            if self._streamed:
                return False
            del members["tool_calls"]  # OpenAI leaves it out, and [] is not "no calls" to everyone
            return True
        changed = False
        for position, call in enumerate(calls):
            members_of_call = mapping(call)
            if not members_of_call:
                raise UpstreamError("upstream_error", "a tool call that is not an object")
            changed |= self._tool_call(members_of_call, position)
        return changed

    def _tool_call(self, call: Members, position: int) -> bool:
        before = dict(call)
        function = mapping(call.get("function"))
        function_before = dict(function)
        given_id, given_index = text(call.get("id")), call.get("index")
        ours = self._which(given_id, given_index, function)
        begins = ours == len(self._calls)
        if begins:
            self._calls.append(given_id or self._invented(ours))
            if isinstance(given_index, int):
                self._open[given_index] = ours
            self.began_call = True
            call["id"] = self._calls[ours]
            if not text(call.get("type")):
                call["type"] = "function"
        else:
            for name in ("id", "type"):  # accumulating clients would append a repeated id
                call.pop(name, None)
            if not text(function.get("name")) or given_id:
                function.pop("name", None)
        self._last = ours
        if self._streamed:
            call["index"] = ours
        else:
            call.pop("index", None)
        if "function" in call or call.get("type") == "function":
            _arguments(call, function, begins=begins)
        return call != before or function != function_before

    def _invented(self, number: int) -> str:
        return f"call_{self._answer_id.rpartition('-')[2]}_{self._index}_{number}"

    def _which(self, given_id: str | None, given_index: object, function: Members) -> int:
        """Our index of the call that this fragment belongs to; len(calls) for a new one.

        Only an id that is not empty begins a call (``openai_compatible.md`` section 0); a server
        that gives no ids at all begins one where an index or a name is seen for the first time.
        """
        known = self._open.get(given_index) if isinstance(given_index, int) else None
        if given_id is not None:
            if known is not None and self._calls[known] == given_id:
                return known
            if given_id in self._calls:
                return self._calls.index(given_id)
            return len(self._calls)
        if known is not None and self._streamed:
            return known
        if isinstance(given_index, int) or self._last < 0 or text(function.get("name")):
            return len(self._calls)
        return self._last

    def _finish(self, choice: Members) -> bool:
        reason = choice.get("finish_reason")
        if reason is None:
            if not self._streamed:
                reason = ""
            else:
                changed = "finish_reason" not in choice
                choice["finish_reason"] = None
                return changed
        word = reason if isinstance(reason, str) else ""
        if word in FINISH_FAILED:
            raise UpstreamError(
                FINISH_FAILED[word], f"the upstream ended the answer with {word!r}", code=word
            )
        mapped = word if word in _PLAIN_FINISH else FINISH.get(word.lower(), "stop")
        if mapped == "stop" and self._calls and (self._quirks.stop_means_tools or not word):
            mapped = "tool_calls"
        self.finish_reason = mapped
        choice["finish_reason"] = mapped
        return mapped != reason


def _append(members: Members, name: str, words: str) -> None:
    if words:
        members[name] = (text(members.get(name)) or "") + words


def _drop(members: Members, names: frozenset[str]) -> bool:
    if names.isdisjoint(members):
        return False
    for name in names.intersection(members):
        del members[name]
    return True


def _split_parts(members: Members) -> None:
    """Mistral: content as blocks of text and thinking; references and others have no place."""
    words: list[str] = []
    thoughts: list[str] = []
    for part in sequence(members["content"]):
        block = mapping(part)
        if block.get("type") == "thinking":
            thoughts.extend(
                text(mapping(piece).get("text")) or "" for piece in sequence(block.get("thinking"))
            )
        elif isinstance(block.get("text"), str):
            words.append(str(block["text"]))
    members["content"] = "".join(words)
    if thoughts:
        members["reasoning_content"] = "".join(thoughts)


def _arguments(call: Members, function: Members, *, begins: bool) -> None:
    """Arguments are a JSON string: null and absent are "", an object is written out."""
    arguments = function.get("arguments")
    if not isinstance(arguments, str):
        function["arguments"] = "" if arguments is None else _encode(arguments).decode()
    if begins and not isinstance(function.get("name"), str):
        function["name"] = ""
    call["function"] = function
