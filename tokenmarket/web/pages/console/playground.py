"""The playground: one page per kind of work. Its scripts call ``/console-api/{org}/v1`` as the
person who is signed in; what is here are the models with their prices, and the texts of scripts.
"""

from __future__ import annotations

from functools import partial
from typing import Any
from urllib.parse import urlencode

import msgspec
from starlette.responses import Response

from tokenmarket.core.catalog import Model
from tokenmarket.core.texts import N_
from tokenmarket.web.site.formats import SIGN
from tokenmarket.web.site.pages import Page
from tokenmarket.web.site.policy import member
from tokenmarket.web.site.visit import Visit

# kind -> the operation of its models; audio has two forms
KINDS = {
    "chat": "chat",
    "image": "images",
    "audio": "speech",
    "video": "video",
    "rerank": "rerank",
    "embeddings": "embeddings",
}
_ALSO = {"transcription": "audio", "translation": "audio"}
SHOWN = (
    "id",
    "providers",
    "default_provider",
    "pricing",
    "capabilities",
    "available",
    "max_output_tokens",
)
_TEXTS = {
    "you": N_("You"),
    "send": N_("Send"),
    "stop": N_("Stop"),
    "stopped": N_("Stopped. What was written so far is charged."),
    "reasoning": N_("Reasoning"),
    "receipt": N_("Receipt"),
    "first_byte": N_("first byte {time}"),
    "estimate": N_("About {amount} at most"),
    "estimate_unknown": N_("The cost depends on the answer; the receipt shows it."),
    "download": N_("Download"),
    "cancel": N_("Cancel"),
    "play": N_("Play"),
    "held": N_("{amount} held"),
    "charged": N_("{amount} charged"),
    "progress": N_("Progress"),
    "recording": N_("Recording"),
    "silence": N_("No words were heard."),
    "no_microphone": N_("no microphone"),
    "hello": N_("Hello!"),
}
_UNITS = {
    "input_token": N_("input tokens"),
    "cached_input_token": N_("cached input tokens"),
    "output_token": N_("output tokens"),
    "reasoning_token": N_("reasoning tokens"),
    "image": N_("images"),
    "character": N_("characters"),
    "audio_second": N_("seconds of audio"),
    "video_second": N_("seconds of video"),
    "search": N_("searches"),
    "request": N_("requests"),
}


def path_for(visit: Visit, model_id: str) -> str:
    """Where a model can be tried, below its organisation's console; the chat for none."""
    model = visit.parts.catalog.find_model(model_id)
    if model is None:
        return "/playground/chat"
    by_operation = {operation: kind for kind, operation in KINDS.items()} | _ALSO
    kind = by_operation.get(model.operation, "chat")
    return f"/playground/{kind}?{urlencode({'model': model.id})}"


async def first(visit: Visit) -> Response:
    """``/playground`` leads to the chat."""
    return visit.redirect(visit.url("@/playground/chat"))


async def _show(visit: Visit, kind: str) -> Response:
    """One kind of work; ``?model=`` chooses a model, as links from elsewhere do."""
    wanted = visit.query.get("model", "")
    source = visit.parts.catalog
    found = source.find_model(wanted) if wanted else None
    models = _models(visit, KINDS[kind])
    config: dict[str, Any] = {
        "api": f"/console-api/{visit.params['org']}/v1",
        "csrf": visit.csrf,
        "lang": visit.html_lang,
        "sign": SIGN[visit.lang],
        "requests": visit.url("@/requests"),
        "base_url": f"{visit.parts.base_url()}/api/v1",
        "models": models,
        "texts": _texts(visit),
    }
    if kind == "audio":
        config |= {"speech": models, "transcription": _models(visit, "transcription")}
    ready = [one["id"] for one in models if one["available"]]

    def kinds(names: dict[str, str]) -> list[tuple[str, str, bool]]:
        return [(names[one], visit.url(f"@/playground/{one}"), one == kind) for one in KINDS]

    return await visit.render(
        f"console/play_{kind}.html",
        kind=kind,
        kinds=kinds,
        config=config,
        chosen=found.id if found is not None else next(iter(ready), ""),
    )


def _models(visit: Visit, operation: str) -> list[dict[str, Any]]:
    """Those that can be called first, each as ``GET /models`` shows it, with its name."""
    source = visit.parts.catalog
    models = [
        _shown(visit, model)
        for model in source.current.models.values()
        if model.operation == operation and model.enabled
    ]
    # The sandbox's come last and as the catalog has them: those that fail on purpose at the end.
    return sorted(
        models,
        key=lambda one: (
            not one["available"],
            one["id"].startswith("sandbox-"),
            "" if one["id"].startswith("sandbox-") else one["name"].lower(),
        ),
    )


def _shown(visit: Visit, model: Model) -> dict[str, Any]:
    item = msgspec.json.decode(visit.parts.catalog.openai_model(model), type=dict[str, Any])
    return {
        "name": model.name_zh if visit.lang == "zh" else model.name_en,
        **{name: item.get(name) for name in SHOWN},
    }


def _texts(visit: Visit) -> dict[str, object]:
    texts: dict[str, object] = {name: visit._(text) for name, text in _TEXTS.items()}
    texts["units"] = {name: visit._(text) for name, text in _UNITS.items()}
    texts["states"] = _states(visit)
    return texts


def _states(visit: Visit) -> dict[str, str]:
    """The states of a video, as people read them."""
    p_ = visit.p_
    queued = p_("job", "Queued")
    return {
        "accepted": queued,
        "submitting": queued,
        "submit_unknown": queued,
        "queued": queued,
        "running": p_("job", "Running"),
        "finalizing": p_("job", "Finishing"),
        "canceling": p_("job", "Being cancelled"),
        "succeeded": p_("job", "Done"),
        "failed": p_("job", "Failed"),
        "rejected": p_("job", "Rejected"),
        "cancelled": p_("job", "Cancelled"),
        "expired": p_("job", "Expired"),
    }


PAGES = [
    Page("/{lang}/console/{org}/playground", first, member("play")),
    *(
        Page(
            f"/{{lang}}/console/{{org}}/playground/{kind}",
            partial(_show, kind=kind),
            member("play"),
        )
        for kind in KINDS
    ),
]
