"""Which adapters exist: one plain table, adapter name -> operation -> Adapter.

The names are what the catalog's ``provider.adapter`` may say. How each sends
its key is in ``upstream/credentials.py``. Adding a provider is one module, its row here, its
recordings.
"""

from __future__ import annotations

from tokenmarket.adapters import (
    ark,
    ark_images,
    ark_videos,
    assemblyai,
    azure_speech,
    azure_transcription,
    bedrock,
    bfl,
    cohere,
    dashscope,
    dashscope_images,
    dashscope_speech,
    dashscope_transcription,
    dashscope_videos,
    deepgram_speech,
    deepgram_transcription,
    deepseek,
    elevenlabs_speech,
    elevenlabs_transcription,
    fal,
    fal_videos,
    fireworks,
    gemini,
    gemini_images,
    gemini_speech,
    gemini_transcription,
    gemini_videos,
    groq,
    ideogram,
    jina,
    kling,
    kling_images,
    luma,
    minimax,
    minimax_images,
    minimax_speech,
    minimax_videos,
    mistral,
    mistral_speech,
    moonshot,
    newapi,
    newapi_videos,
    ollama,
    openai,
    openrouter,
    perplexity,
    recraft,
    replicate,
    replicate_videos,
    runway,
    sandbox,
    siliconflow,
    siliconflow_videos,
    stability,
    tei,
    together,
    vertex_videos,
    vidu,
    vllm,
    volcengine_speech,
    voyage,
    xai,
    xai_speech,
    xai_videos,
    zhipu,
)
from tokenmarket.adapters.protocol import Adapter, MediaAdapter
from tokenmarket.adapters.video_protocol import VideoAdapter

ADAPTERS: dict[str, dict[str, Adapter | MediaAdapter]] = {
    "ark": {
        "chat": ark.CHAT,
        "embeddings": ark.EMBEDDINGS,
        "images": ark_images.IMAGES,
    },
    "assemblyai": {"transcription": assemblyai.TRANSCRIPTION},
    "azure_speech": {
        "transcription": azure_transcription.TRANSCRIPTION,
        "speech": azure_speech.SPEECH,
    },
    "bedrock": {"embeddings": bedrock.EMBEDDINGS, "rerank": bedrock.RERANK},
    "bfl": {"images": bfl.IMAGES},
    "cohere": {
        "embeddings": cohere.EMBEDDINGS,
        "rerank": cohere.RERANK,
        "transcription": cohere.TRANSCRIPTION,
    },
    "dashscope": {
        "chat": dashscope.CHAT,
        "embeddings": dashscope.EMBEDDINGS,
        "images": dashscope_images.IMAGES,
        "rerank": dashscope.RERANK,
        "transcription": dashscope_transcription.TRANSCRIPTION,
        "speech": dashscope_speech.SPEECH,
    },
    "deepgram": {
        "transcription": deepgram_transcription.TRANSCRIPTION,
        "speech": deepgram_speech.SPEECH,
    },
    "deepseek": {"chat": deepseek.CHAT},
    "elevenlabs": {
        "transcription": elevenlabs_transcription.TRANSCRIPTION,
        "speech": elevenlabs_speech.SPEECH,
    },
    "fal": {"images": fal.IMAGES},
    "fireworks": {
        "chat": fireworks.CHAT,
        "completions": fireworks.COMPLETIONS,
        "embeddings": fireworks.EMBEDDINGS,
    },
    "gemini": {
        "embeddings": gemini.EMBEDDINGS,
        "images": gemini_images.IMAGES,
        "transcription": gemini_transcription.TRANSCRIPTION,
        "speech": gemini_speech.SPEECH,
    },
    "groq": {
        "chat": groq.CHAT,
        "speech": groq.SPEECH,
        "transcription": groq.TRANSCRIPTION,
        "translation": groq.TRANSCRIPTION,
    },
    "ideogram": {"images": ideogram.IMAGES},
    "jina": {"embeddings": jina.EMBEDDINGS, "rerank": jina.RERANK},
    "kling": {"images": kling_images.IMAGES},
    "minimax": {
        "chat": minimax.CHAT,
        "images": minimax_images.IMAGES,
        "speech": minimax_speech.SPEECH,
    },
    "mistral": {
        "chat": mistral.CHAT,
        "embeddings": mistral.EMBEDDINGS,
        "moderation": mistral.MODERATION,
        "transcription": mistral.TRANSCRIPTION,
        "speech": mistral_speech.SPEECH,
    },
    "moonshot": {"chat": moonshot.CHAT},
    "newapi": {
        "chat": newapi.CHAT,
        "completions": newapi.COMPLETIONS,
        "embeddings": newapi.EMBEDDINGS,
        "images": newapi.IMAGES,
        "rerank": newapi.RERANK,
        "transcription": newapi.TRANSCRIPTION,
        "translation": newapi.TRANSCRIPTION,
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
        "moderation": openai.MODERATION,
    },
    "openrouter": {
        "chat": openrouter.CHAT,
        "completions": openrouter.COMPLETIONS,
        "embeddings": openrouter.EMBEDDINGS,
        "images": openrouter.IMAGES,
        "rerank": openrouter.RERANK,
        "speech": openrouter.SPEECH,
        "transcription": openrouter.TRANSCRIPTION,
    },
    "perplexity": {"chat": perplexity.CHAT},
    "recraft": {"images": recraft.IMAGES},
    "replicate": {"images": replicate.IMAGES},
    "sandbox": {
        "chat": sandbox.CHAT,
        "completions": sandbox.COMPLETIONS,
        "embeddings": sandbox.EMBEDDINGS,
        "images": sandbox.IMAGES,
        "speech": sandbox.SPEECH,
        "transcription": sandbox.TRANSCRIPTION,
        "translation": sandbox.TRANSCRIPTION,
        "moderation": sandbox.MODERATION,
        "rerank": sandbox.RERANK,
    },
    "siliconflow": {
        "chat": siliconflow.CHAT,
        "embeddings": siliconflow.EMBEDDINGS,
        "images": siliconflow.IMAGES,
        "rerank": siliconflow.RERANK,
        "transcription": siliconflow.TRANSCRIPTION,
    },
    "stability": {"images": stability.IMAGES},
    "tei": {"embeddings": tei.EMBEDDINGS, "rerank": tei.RERANK},
    "together": {
        "chat": together.CHAT,
        "completions": together.COMPLETIONS,
        "embeddings": together.EMBEDDINGS,
        "rerank": together.RERANK,
    },
    "vertex": {"images": gemini_images.IMAGES},
    "vllm": {
        "chat": vllm.CHAT,
        "completions": vllm.COMPLETIONS,
        "embeddings": vllm.EMBEDDINGS,
        "rerank": vllm.RERANK,
        "transcription": vllm.TRANSCRIPTION,
        "translation": vllm.TRANSCRIPTION,
    },
    "volcengine": {"speech": volcengine_speech.SPEECH},
    "voyage": {"embeddings": voyage.EMBEDDINGS, "rerank": voyage.RERANK},
    "xai": {
        "chat": xai.CHAT,
        "images": xai.IMAGES,
        "transcription": xai.TRANSCRIPTION,
        "speech": xai_speech.SPEECH,
    },
    "zhipu": {"chat": zhipu.CHAT, "embeddings": zhipu.EMBEDDINGS},
}


def find(adapter: str, operation: str) -> Adapter | MediaAdapter | None:
    """The adapter for an operation; None when the provider has no such operation here."""
    return ADAPTERS.get(adapter, {}).get(operation)


# A video is a task with a life of its own, so its adapters have another shape.
VIDEO: dict[str, VideoAdapter] = {
    "ark": ark_videos.VIDEO,
    "dashscope": dashscope_videos.VIDEO,
    "fal": fal_videos.VIDEO,
    "gemini": gemini_videos.VIDEO,
    "kling": kling.VIDEO,
    "luma": luma.VIDEO,
    "minimax": minimax_videos.VIDEO,
    "newapi": newapi_videos.VIDEO,
    "replicate": replicate_videos.VIDEO,
    "runway": runway.VIDEO,
    "sandbox": sandbox.VIDEO,
    "siliconflow": siliconflow_videos.VIDEO,
    "vertex": vertex_videos.VIDEO,
    "vidu": vidu.VIDEO,
    "xai": xai_videos.VIDEO,
}


def find_video(adapter: str) -> VideoAdapter | None:
    """The adapter for videos; None when the provider makes none here."""
    return VIDEO.get(adapter)
