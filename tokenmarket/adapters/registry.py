"""Which adapters exist: one plain table, adapter name -> operation -> Adapter.

The names are what the catalog's ``provider.adapter`` may say. All of them send the provider's key
as ``Authorization: Bearer``. Adding a provider is one module, its row here, its recordings.
"""

from __future__ import annotations

from tokenmarket.adapters import (
    ark,
    dashscope,
    deepseek,
    fireworks,
    groq,
    minimax,
    mistral,
    moonshot,
    newapi,
    ollama,
    openai,
    openrouter,
    perplexity,
    sandbox,
    siliconflow,
    together,
    vllm,
    xai,
    zhipu,
)
from tokenmarket.adapters.protocol import Adapter, MediaAdapter
from tokenmarket.adapters.video_protocol import VideoAdapter

ADAPTERS: dict[str, dict[str, Adapter | MediaAdapter]] = {
    "ark": {"chat": ark.CHAT, "embeddings": ark.EMBEDDINGS},
    "dashscope": {"chat": dashscope.CHAT, "embeddings": dashscope.EMBEDDINGS},
    "deepseek": {"chat": deepseek.CHAT},
    "fireworks": {
        "chat": fireworks.CHAT,
        "completions": fireworks.COMPLETIONS,
        "embeddings": fireworks.EMBEDDINGS,
    },
    "groq": {"chat": groq.CHAT},
    "minimax": {"chat": minimax.CHAT},
    "mistral": {"chat": mistral.CHAT, "embeddings": mistral.EMBEDDINGS},
    "moonshot": {"chat": moonshot.CHAT},
    "newapi": {
        "chat": newapi.CHAT,
        "completions": newapi.COMPLETIONS,
        "embeddings": newapi.EMBEDDINGS,
    },
    "ollama": {
        "chat": ollama.CHAT,
        "completions": ollama.COMPLETIONS,
        "embeddings": ollama.EMBEDDINGS,
    },
    "openai": {
        "chat": openai.CHAT,
        "completions": openai.COMPLETIONS,
        "embeddings": openai.EMBEDDINGS,
        "images": openai.IMAGES,
        "speech": openai.SPEECH,
        "transcription": openai.TRANSCRIPTION,
        "translation": openai.TRANSCRIPTION,
    },
    "openrouter": {
        "chat": openrouter.CHAT,
        "completions": openrouter.COMPLETIONS,
        "embeddings": openrouter.EMBEDDINGS,
    },
    "perplexity": {"chat": perplexity.CHAT},
    "sandbox": {
        "chat": sandbox.CHAT,
        "completions": sandbox.COMPLETIONS,
        "embeddings": sandbox.EMBEDDINGS,
        "images": sandbox.IMAGES,
        "speech": sandbox.SPEECH,
        "transcription": sandbox.TRANSCRIPTION,
        "translation": sandbox.TRANSCRIPTION,
    },
    "siliconflow": {"chat": siliconflow.CHAT, "embeddings": siliconflow.EMBEDDINGS},
    "together": {
        "chat": together.CHAT,
        "completions": together.COMPLETIONS,
        "embeddings": together.EMBEDDINGS,
    },
    "vllm": {"chat": vllm.CHAT, "completions": vllm.COMPLETIONS, "embeddings": vllm.EMBEDDINGS},
    "xai": {"chat": xai.CHAT},
    "zhipu": {"chat": zhipu.CHAT, "embeddings": zhipu.EMBEDDINGS},
}


def find(adapter: str, operation: str) -> Adapter | MediaAdapter | None:
    """The adapter for an operation; None when the provider has no such operation here."""
    return ADAPTERS.get(adapter, {}).get(operation)


# A video is a task with a life of its own, so its adapters have another shape.
VIDEO: dict[str, VideoAdapter] = {
    "sandbox": sandbox.VIDEO,
}


def find_video(adapter: str) -> VideoAdapter | None:
    """The adapter for videos; None when the provider makes none here."""
    return VIDEO.get(adapter)
