"""Chat and legacy completions of every OpenAI-compatible upstream: ``OpenAIChat(Quirks(...))``.

OpenAI's wire format is our inner format, so for OpenAI itself this changes what must change (model
name, ids, limits, usage) and passes the rest. Instances hold data only, and what they worked out
per route (``route_plan.py``). Requests and answers without peculiarities take short ways, which
give what the general ones (``openai_request.py``, ``openai_answer.py``) give.
"""

from __future__ import annotations

from functools import partial

import msgspec

from tokenmarket.adapters.kit.openai_answer import answer_id
from tokenmarket.adapters.kit.openai_answer import read_text as read_any_text
from tokenmarket.adapters.kit.openai_errors import explain
from tokenmarket.adapters.kit.openai_plain import read_plain, read_text
from tokenmarket.adapters.kit.openai_request import HEADERS, STREAM_HEADERS, build_text
from tokenmarket.adapters.kit.openai_stream import StreamDecoder
from tokenmarket.adapters.kit.quirks import Quirks
from tokenmarket.adapters.kit.route_plan import RoutePlans
from tokenmarket.adapters.protocol import (
    Decoder,
    Head,
    Reply,
    TextReader,
    UpstreamRequest,
)
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import UpstreamError
from tokenmarket.core.requests import Request

_encode = msgspec.json.Encoder().encode


class OpenAIChat:
    """``POST /chat/completions``."""

    chat = True
    id_prefix = "chatcmpl-"

    def __init__(self, quirks: Quirks) -> None:
        self.quirks = quirks
        self._plans = RoutePlans(quirks, chat=self.chat)

    def build(self, request: Request, route: Route, *, now_s: int) -> UpstreamRequest:
        fields = self._plans.of(route).fields(request)
        if fields is None:
            return build_text(request, route, self.quirks)
        headers = STREAM_HEADERS if request.stream else HEADERS
        return UpstreamRequest(self.quirks.path, headers, _encode(fields))

    def read(self, request: Request, route: Route, head: Head, body: bytes) -> Reply:
        reply = read_plain(request, self._plans.of(route), body, self.quirks, chat=self.chat)
        if reply is None:
            return read_any_text(request, route, head, body, self.quirks, chat=self.chat)
        return reply

    def text_reader(self, route: Route) -> TextReader | None:
        plan = self._plans.of(route)
        if not self.chat or not plan.keeps_text_messages or self.quirks.reasoning_outside:
            return None
        return partial(read_text, plan, self.quirks)

    def decoder(self, request: Request, route: Route, head: Head) -> Decoder:
        return StreamDecoder(
            self.quirks,
            route.prices,
            stream_id=answer_id(self.id_prefix, request),
            model=route.model.id,
            created_s=request.created_s,
            include_usage=request.include_usage,
            chat=self.chat,
        )

    def explain(self, head: Head, body: bytes) -> UpstreamError:
        return explain(head, body, self.quirks.codes)


class OpenAICompletions(OpenAIChat):
    """``POST /completions`` (legacy): ``text`` instead of messages, ``max_tokens`` only."""

    chat = False
    id_prefix = "cmpl-"
