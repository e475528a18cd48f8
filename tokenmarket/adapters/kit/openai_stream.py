"""A stream of OpenAI-like chunks -> our stream bytes, usage and finish reason.

Three ways through, with equal results but for the order of members:

* slow: an event is decoded, cleaned and written again. It is the truth.
* plain: a typed decode proves that nothing needs cleaning (``chunk_plain.py``); the choices stay
  the bytes they came in.
* fast: most events of a stream differ in one string only (the next few characters). What is around
  it is learned and compared (``templates.py``). Renamed members (``reasoning``) cost nothing.

So nothing here depends on how the upstream orders members or cuts its bytes.
"""

from __future__ import annotations

import msgspec

from tokenmarket.adapters.kit.chunk_plain import Chunk, plain_choices, plain_chunk, words_of
from tokenmarket.adapters.kit.openai_answer import VENDOR_FIELDS, created, foreign_tier, string
from tokenmarket.adapters.kit.openai_choice import ChoiceCleaner
from tokenmarket.adapters.kit.openai_errors import inside_200
from tokenmarket.adapters.kit.openai_plain import ABSENT, CREATED_S_MAX, ID_CHARS_MAX, TIER_MEMBER
from tokenmarket.adapters.kit.openai_usage import parse_usage
from tokenmarket.adapters.kit.quirks import Quirks
from tokenmarket.adapters.kit.shape import mapping, sequence, text
from tokenmarket.adapters.kit.sse import EVENT_BYTES_MAX, Events, payload
from tokenmarket.adapters.kit.templates import HARMLESS, Template, learn, one, run_of_one_kind
from tokenmarket.core.errors import UpstreamError
from tokenmarket.core.pricing import PriceSheet
from tokenmarket.core.usage import Usage

Fields = dict[str, msgspec.Raw]

TEMPLATES_MAX = 8  # n choices, or text, reasoning and arguments by turns
CHOICES_MAX = 128  # a chunk may not make us keep state for more indexes than any n allows

_decode_chunk = msgspec.json.Decoder(Fields).decode
_decode_any = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode

_META = frozenset(
    {"id", "object", "created", "model", "choices", "usage", "service_tier", "system_fingerprint"}
)
_EMPTY = (b"null", b'""', b"{}", b"[]", b"false")
_NO_CHUNK = "the upstream sent an event that is no chunk"
DONE = b"data: [DONE]\n\n"


class StreamDecoder:
    """protocol.Decoder for chat and legacy completions."""

    def __init__(
        self,
        quirks: Quirks,
        prices: PriceSheet,
        *,
        stream_id: str,
        model: str,
        created_s: int,
        include_usage: bool,
        chat: bool,
    ) -> None:
        self.usage: Usage | None = None
        self.finish_reason: str | None = None
        self.upstream_id: str | None = None
        self.delivered_output = False
        self._quirks = quirks
        self._prices = prices
        self._chat = chat
        self._include_usage = include_usage
        self._id = stream_id
        self._model = model
        self._object = "chat.completion.chunk" if chat else "text_completion"
        self._head = b""  # how our chunks begin, once it is known
        self._plain = chat and not quirks.think_tags  # may events be OpenAI's own?
        self._created_s = created_s
        self._created_known = False
        self._tier: str | None = None
        self._choices: dict[int, ChoiceCleaner] = {}
        self._done = False
        self._error: UpstreamError | None = None
        self._templates: list[Template] = []
        self._hot: Template | None = None  # the newest one, until the stream has ended
        self._pieces: list[bytes] = []  # the beginning of an incomplete event
        self._pieces_bytes = 0
        self._events: Events | None = None  # used from the first CR on
        self._text: str | None = None  # the one text of the last slow event, if it had one

    # -- framing

    def feed(self, data: bytes) -> bytes:
        """Whole events. What came before an error is handed out first, then the error is raised,
        so that any cut of the bytes delivers the same."""
        hot = self._hot
        if hot is not None and not self._pieces:  # one event like the last one: the usual read
            before, after, out_before, out_after, begin, end = hot
            if data.startswith(before) and data.endswith(after) and len(data) >= begin + end:
                middle = data[begin:-end]
                if not middle.translate(None, HARMLESS):
                    return out_before + middle + out_after
        return self._feed_more(data)

    def _feed_more(self, data: bytes) -> bytes:
        """Any read: pieces of events, several of them, other line ends."""
        if self._error is not None:
            raise self._error
        if self._events is not None or b"\r" in data:
            return self._feed_any(data)
        if self._pieces:
            data = self._joined(data)
        cut = data.rfind(b"\n\n")
        if cut < 0:
            self._keep(data)
            return b""
        if cut + 2 != len(data):
            self._keep(data[cut + 2 :])
            data = data[: cut + 2]
        if not self._templates:
            return self._feed_block(data, [])
        ours, rest = run_of_one_kind(self._templates, data)
        return self._feed_block(rest, [ours] if ours else []) if rest else ours

    def finish(self) -> bytes:
        """The end of the body. Raises stream_broken unless the end was announced: ``[DONE]``, or a
        finish reason of every choice that began."""
        if self._error is not None:
            raise self._error
        out = self._last_event() if self._pieces or self._events is not None else b""
        if not self._choices or not (
            self._done or all(choice.finish_reason is not None for choice in self._choices.values())
        ):
            raise UpstreamError("stream_broken", "the upstream's stream ended before its end")
        return out + self._owed() if self._quirks.think_tags else out

    def tail(self, usage_json: bytes | None) -> bytes:
        """The last events: usage if the caller asked for it, then ``[DONE]``."""
        if usage_json is None:
            return DONE
        return b'%b,"choices":[],"usage":%b}\n\n%b' % (self._beginning(), usage_json, DONE)

    def _beginning(self) -> bytes:
        """Our chunk up to the model; ``created`` may still be learned from the upstream."""
        if not self._head:
            self._head = b'data: {"id":%b,"object":"%b","created":%d,"model":%b' % (
                _encode(self._id),
                self._object.encode("ascii"),
                self._created_s,
                _encode(self._model),
            )
        return self._head

    def _last_event(self) -> bytes:
        """An event that lacks its empty line only is taken; a part of one is a truncation."""
        rest = b"".join(self._pieces)
        if self._events is None and not self._choices and rest.lstrip()[:1] == b"{":
            raise _no_stream(rest, self._quirks)
        events = self._events or Events()
        try:
            return self._run(events.feed(rest) + events.close())
        except UpstreamError as error:
            if error.message is not _NO_CHUNK:
                raise
            raise UpstreamError(
                "stream_broken", "the upstream's stream ended inside an event"
            ) from None

    def _keep(self, data: bytes) -> None:
        if not data:
            return
        self._pieces.append(data)
        self._pieces_bytes += len(data)
        if self._pieces_bytes > EVENT_BYTES_MAX:
            raise UpstreamError(
                "upstream_error",
                f"one event of the upstream's stream is larger than {EVENT_BYTES_MAX} bytes",
            )

    def _joined(self, data: bytes) -> bytes:
        """The kept beginning and these bytes; b"" (and kept) while there is no end in sight, so
        that an event that drips in costs no quadratic copying."""
        if b"\n\n" not in data and not (data[:1] == b"\n" and self._pieces[-1][-1:] == b"\n"):
            self._keep(data)
            return b""
        data = b"".join((*self._pieces, data))
        self._pieces.clear()
        self._pieces_bytes = 0
        return data

    def _feed_any(self, data: bytes) -> bytes:
        """Streams with CR line ends go through the general reader."""
        if self._events is None:
            self._events = Events()
            self._hot = None
            data = b"".join((*self._pieces, data))
            self._pieces.clear()
        return self._run(self._events.feed(data))

    def _feed_block(self, block: bytes, out: list[bytes]) -> bytes:
        """Several events, or one that no template fits as it is. The first one may teach how to
        relay those behind it at once."""
        end = block.find(b"\n\n") + 2
        going = self._event(block[:end], out)
        if going and self._text is not None and end < len(block):
            ours, block = run_of_one_kind(self._templates, block[end:])
            if ours:
                out.append(ours)
            end = 0
        while going and end < len(block):
            begin, end = end, block.find(b"\n\n", end) + 2
            going = self._event(block[begin:end], out)
        return self._given(out)

    def _event(self, event: bytes, out: list[bytes]) -> bool:
        """One event (with its end) by a template or slowly; False after an error."""
        ours = one(self._templates, event) if self._templates else None
        if ours is not None:
            out.append(ours)
            return True
        found = payload(event[:-2])
        return found is None or self._one(found, event, out)

    def _run(self, payloads: list[bytes]) -> bytes:
        out: list[bytes] = []
        for found in payloads:
            if not self._one(found, None, out):
                break
        return self._given(out)

    def _one(self, found: bytes, event: bytes | None, out: list[bytes]) -> bool:
        """One event, slowly; False after an error."""
        try:
            written = self._chunk(found)
        except UpstreamError as error:
            self._error = error
            self._hot = None
            return False
        if written:
            out.append(written)
            if event is not None and self._text is not None:
                template = learn(event, written, self._text)
                if template is not None and TEMPLATES_MAX:
                    self._hot = template
                    self._templates.insert(0, template)
                    del self._templates[TEMPLATES_MAX:]
        return True

    def _given(self, out: list[bytes]) -> bytes:
        if self._error is not None and not out:
            raise self._error
        return b"".join(out)

    # -- one chunk

    def _chunk(self, data: bytes) -> bytes:
        """The slow way: our event for one payload, b"" when nothing of it is for the caller."""
        self._text = None
        if self._done:
            return b""
        if data.startswith(b"[DONE]"):
            self._done = True
            self._hot = None
            self._templates.clear()
            return b""
        if self._plain:
            plain = self._plain_chunk(data)
            if plain is not None:
                return plain
        try:
            chunk = _decode_chunk(data)
            self._raise_error(chunk, data)
            raw_choices = chunk.get("choices")
            choices = sequence(_decode_any(raw_choices)) if raw_choices is not None else []
            self._learn_facts(chunk, choices)
            changed = self._clean(choices)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise UpstreamError("upstream_error", _NO_CHUNK, status=200) from None
        if not choices and chunk.keys() <= _META | VENDOR_FIELDS:
            return b""  # usage only, or Azure's verdict on the prompt
        if raw_choices is None:
            return b""  # a ping of some kind
        written: dict[str, object] = {
            "id": self._id,
            "object": self._object,
            "created": self._created_s,
            "model": self._model,
        }
        for name, value in chunk.items():
            if name not in written and name != "usage" and name not in VENDOR_FIELDS:
                written[name] = value
        if changed:
            written["choices"] = choices
        if foreign_tier(chunk):
            del written["service_tier"]
        if self._include_usage:
            written["usage"] = None
        return b"data: " + _encode(written) + b"\n\n"

    def _plain_chunk(self, data: bytes) -> bytes | None:
        """``_chunk`` for what needs no cleaning; None (and nothing changed) for all else."""
        chunk = plain_chunk(data)
        if chunk is None:
            # A vendor's member that the first chunk has, all have: do not ask again.
            self._plain = bool(self._choices)
            return None
        choices = plain_choices(chunk)
        if choices is None:
            return None
        for choice in choices:
            cleaner = self._choices.get(choice.index)
            if cleaner is not None and not cleaner.may_finish(choice.finish_reason):
                return None
        self._learn_plain_facts(chunk)
        if not choices:
            return b""
        said: list[str] = []
        for choice in choices:
            cleaner = self._choices.get(choice.index) or self._begin(choice.index)
            if choice.finish_reason is not None:
                cleaner.finish_reason = choice.finish_reason
                self.finish_reason = self.finish_reason or choice.finish_reason
            said += words_of(choice.delta)
        if said:
            self.delivered_output = True
            if len(said) == len(choices) == 1 and choices[0].finish_reason is None:
                self._text = said[0]
        members = b""
        if chunk.service_tier is not msgspec.UNSET:
            tier = chunk.service_tier
            members = b',"service_tier":null' if tier is None else TIER_MEMBER.get(tier, b"")
        if chunk.system_fingerprint is not ABSENT:
            members += b',"system_fingerprint":' + bytes(chunk.system_fingerprint)
        return b'%b%b,"choices":%b%b' % (
            self._beginning(),
            members,
            bytes(chunk.choices),
            b',"usage":null}\n\n' if self._include_usage else b"}\n\n",
        )

    def _learn_plain_facts(self, chunk: Chunk) -> None:
        """``_learn_facts`` of a typed chunk."""
        if self.upstream_id is None:
            self.upstream_id = chunk.id[:ID_CHARS_MAX] or None
        if chunk.service_tier:
            self._tier = chunk.service_tier[:ID_CHARS_MAX]
        if not self._created_known and 0 < chunk.created < CREATED_S_MAX:
            self._created_s, self._created_known = chunk.created, True
            self._head = b""
        if chunk.usage is not ABSENT and bytes(chunk.usage) not in _EMPTY:
            self._learn_usage(chunk.usage)

    def _raise_error(self, chunk: Fields, data: bytes) -> None:
        error = chunk.get("error")
        failed = error is not None and bytes(error) not in _EMPTY
        groq = chunk.get("x_groq")
        if groq is not None and b'"error"' in bytes(groq):
            nested = mapping(_decode_any(groq)).get("error")
            if nested:
                raise inside_200({"error": nested}, self._quirks.codes)
        if "base_resp" in chunk:
            failed = failed or bool(mapping(_decode_any(chunk["base_resp"])).get("status_code"))
        if "choices" not in chunk and chunk.keys() & {"message", "detail", "code"}:
            failed = True
        if failed:
            raise inside_200(_decode_any(data), self._quirks.codes)

    def _learn_facts(self, chunk: Fields, choices: list[object]) -> None:
        """Usage (the last one that is not null wins), id, tier and time of the stream."""
        if self.upstream_id is None:
            self.upstream_id = string(chunk.get("id"))
        tier = chunk.get("service_tier")
        if tier is not None:
            self._tier = string(tier) or self._tier
        if not self._created_known:
            seconds = created(chunk.get("created"))
            if seconds:
                self._created_s, self._created_known = seconds, True
                self._head = b""
        usage = chunk.get("usage")
        if usage is None or bytes(usage) in _EMPTY:
            usage = self._usage_elsewhere(chunk, choices)
        if usage is not None:
            self._learn_usage(usage)

    def _learn_usage(self, usage: bytes | msgspec.Raw) -> None:
        parsed = parse_usage(
            usage,
            self._prices,
            service_tier=self._tier,
            reasoning_outside=self._quirks.reasoning_outside,
        )
        self.usage = parsed or self.usage

    def _usage_elsewhere(self, chunk: Fields, choices: list[object]) -> bytes | None:
        """Groq: x_groq.usage; older Moonshot models: inside the first choice."""
        found: object = None
        if "x_groq" in chunk:
            found = mapping(_decode_any(chunk["x_groq"])).get("usage")
        if not found and choices:
            found = mapping(choices[0]).get("usage")
        return _encode(found) if mapping(found) else None

    def _clean(self, choices: list[object]) -> bool:
        """Every choice in place; whether any was changed."""
        changed = False
        for position, item in enumerate(choices):
            choice = mapping(item)
            if not choice:
                raise UpstreamError("upstream_error", "a choice that is not an object")
            index = choice.get("index")
            if type(index) is not int:
                choice["index"] = index = position
                changed = True
            cleaner = self._choices.get(index)
            if cleaner is None:
                cleaner = self._begin(index)
            if self._chat:
                changed |= cleaner.clean(choice)
                words = _words(mapping(choice.get("delta")))
            else:
                changed |= cleaner.clean_text(choice)
                words = [text(choice.get("text")) or ""]
            said = [word for word in words if word]
            self.delivered_output = self.delivered_output or bool(said) or cleaner.began_call
            self.finish_reason = self.finish_reason or cleaner.finish_reason
            # A template may stand for this event only if nothing but its text can matter.
            if (
                len(choices) == 1
                and len(said) == 1
                and choice.get("finish_reason") is None
                and not cleaner.began_call
                and cleaner.settled
            ):
                self._text = said[0]
        return changed

    def _begin(self, index: int) -> ChoiceCleaner:
        if len(self._choices) >= CHOICES_MAX:
            raise UpstreamError("upstream_error", "the upstream's stream has too many choices")
        cleaner = ChoiceCleaner(self._quirks, self._id, index, streamed=True)
        self._choices[index] = cleaner
        return cleaner

    def _owed(self) -> bytes:
        """What was held back for a tag that never came."""
        out = b""
        for index, cleaner in self._choices.items():
            delta = cleaner.flush()
            if delta is not None:
                chunk = {
                    "id": self._id,
                    "object": self._object,
                    "created": self._created_s,
                    "model": self._model,
                    "choices": [{"index": index, "delta": delta, "finish_reason": None}],
                }
                out += b"data: " + _encode(chunk) + b"\n\n"
        return out


def _no_stream(body: bytes, quirks: Quirks) -> UpstreamError:
    """A JSON document where a stream was asked for: an error, or an upstream that cannot stream."""
    try:
        document = _decode_any(body)
    except msgspec.DecodeError:
        return UpstreamError("stream_broken", "the upstream answered with half a JSON document")
    if "choices" in mapping(document):
        return UpstreamError("upstream_error", "the upstream answered without streaming")
    return inside_200(document, quirks.codes)


def _words(delta: dict[str, object]) -> list[str]:
    """Everything in a delta that is output for the caller."""
    words = [
        text(delta.get("content")) or "",
        text(delta.get("reasoning_content")) or "",
        text(delta.get("refusal")) or "",
        text(mapping(delta.get("audio")).get("data")) or "",
        text(mapping(delta.get("function_call")).get("arguments")) or "",
    ]
    for call in sequence(delta.get("tool_calls")):
        members = mapping(call)
        words.append(text(mapping(members.get("function")).get("arguments")) or "")
        words.append(text(mapping(members.get("custom")).get("input")) or "")
    return words
