"""How an OpenAI-compatible upstream differs from OpenAI, as data.

A provider module is one ``Quirks`` (about ten lines); the default values are the conservative
compatible server: ``max_tokens``, the ``system`` role, no OpenAI-only fields. Sources are named in
the provider modules; the tables here hold what several of them share.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from tokenmarket.core.errors import FailureKind

# Ours: routing fields of the public contract, never forwarded.
GATEWAY_FIELDS = ("provider", "models")

# Members that this gateway itself acts on (logs, receipts): not forwarding them drops nothing.
HONOURED_HERE = frozenset({"metadata", "user"})

# Members by which some servers would produce more than the output limit that was paid for:
# ``best_of`` multiplies (old vLLM, SGLang), the others are other spellings of the limit itself.
LIMIT_ESCAPES = frozenset({"best_of", "max_new_tokens", "max_output_tokens", "max_length"})

# OpenAI's own fields that compatible servers answer with 400 or 422
# (https://platform.openai.com/docs/api-reference/chat/create; facts as of 2026-11-23).
OPENAI_ONLY = frozenset(
    {
        "audio",
        "logit_bias",  # token ids of OpenAI's tokenizer mean nothing elsewhere
        "metadata",
        "modalities",
        "moderation",
        "prediction",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "store",
        "verbosity",
        "web_search_options",
    }
)

# The deprecated way to give tools; dropping it would silently answer without them.
LEGACY_FUNCTIONS = frozenset({"functions", "function_call"})

SAMPLING = frozenset(
    {
        "temperature",
        "top_p",
        "presence_penalty",
        "frequency_penalty",
        "logprobs",
        "top_logprobs",
    }
)

ReasoningStyle = Literal[
    "reasoning_effort",  # OpenAI's own field
    "thinking",  # thinking: {"type": "enabled" | "disabled"}
    "thinking_and_effort",  # both: thinking switches, reasoning_effort grades
    "enable_thinking",  # enable_thinking: true | false
    "none",  # the upstream has no such switch: dropped, and named
]


class Quirks(msgspec.Struct, frozen=True):
    """One dialect. Sets name top-level members of the request body."""

    path: str = "/chat/completions"

    # -- request members
    max_tokens_field: str = "max_tokens"  # a model's capability of the same name wins
    drop: frozenset[str] = OPENAI_ONLY  # removed, and named in ``dropped``
    refuse: frozenset[str] = LEGACY_FUNCTIONS  # REQUEST_002: the answer would mean something else
    rename: tuple[tuple[str, str], ...] = ()
    force: tuple[tuple[str, bytes], ...] = ()  # added as JSON unless the caller gave the member
    temperature_max: float = 2.0
    temperature_fixed: bool = False  # only the default works on reasoning models: dropped there
    n_max: int = 8
    json_schema: bool = True
    tool_choices: frozenset[str] = frozenset({"none", "auto", "required", "function"})
    tool_choice_words: tuple[tuple[str, str], ...] = ()  # required -> any
    custom_tools: bool = False  # tools of type "custom" (free text instead of JSON arguments)
    strip_strict: bool = False  # tools[].function.strict is refused
    obfuscation: bool = False  # knows stream_options.include_obfuscation
    stream_usage: Literal["ask", "always"] = "ask"  # "always": stream_options is not understood

    # -- messages
    developer_role: bool = False
    content_lists: bool = True  # False: part lists of text only become one string
    merge_roles: bool = False  # neighbours of one role become one message
    message_drop: frozenset[str] = frozenset()  # members removed from every message but tool ones
    assistant_drop: frozenset[str] = frozenset()
    drop_nulls: bool = False  # null members of messages are refused
    reasoning_back: bool = False  # reasoning models want reasoning_content beside tool_calls

    # -- reasoning
    reasoning: ReasoningStyle = "reasoning_effort"
    efforts: tuple[tuple[str, str], ...] = ()  # effort words the upstream does not know
    thinking_on: str = "enabled"

    # -- answers
    think_tags: bool = False  # <think>…</think> at the beginning of content is reasoning
    stop_means_tools: bool = True  # "stop" after tool calls was meant as "tool_calls"
    reasoning_outside: bool = False  # usage.reasoning_tokens is not part of completion_tokens

    # -- errors: vendor code or type (lower case) -> kind
    codes: dict[str, FailureKind] = {}

    # -- embeddings
    base64: bool = True  # can answer encoding_format base64
    encoding_format: bool = True  # knows the member at all
    token_inputs: bool = False  # takes token ids instead of text
    dimensions_field: str | None = "dimensions"  # None: shortened here where the model allows it
    batch_max: int = 0  # inputs per request (see kit/embed.py); 0: as many as we take


# finish_reason words seen in recordings and vendor documents -> OpenAI's.
FINISH: dict[str, str] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
    "function_call": "function_call",
    "": "stop",  # xAI with tools, Snowflake
    "eos": "stop",  # Together
    "eos_token": "stop",  # text-generation-inference
    "stop_sequence": "stop",
    "end_turn": "stop",
    "tool_call": "tool_calls",  # Azure's Mistral
    "tool_use": "tool_calls",
    "model_length": "length",  # Mistral
    "max_tokens": "length",
    "model_context_window_exceeded": "length",  # Zhipu
    "sensitive": "content_filter",  # Zhipu
    "safety": "content_filter",
}

# Words that say the answer failed, although the status was 200.
FINISH_FAILED: dict[str, FailureKind] = {
    "error": "upstream_error",  # OpenRouter, Mistral
    "network_error": "upstream_error",  # Zhipu
    "insufficient_system_resource": "overloaded",  # DeepSeek
    "abort": "stream_broken",  # SGLang
}
