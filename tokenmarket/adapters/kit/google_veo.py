"""Veo's long-running predictions, at Vertex and (until October 2026) at the Gemini API.

    POST /models/{model}:predictLongRunning  {"instances": [...], "parameters": {...}} -> {"name"}
    Vertex:  POST /models/{model}:fetchPredictOperation {"operationName"}
    Gemini:  GET  /{name}
         -> {"done", "error" | "response"}; ``done`` is absent until it is true

Files are inline base64, or addresses: below the API's own host they need the key, ``gs://`` is
read from Google's storage with it. An operation that is done and has no files, but says how many
were filtered, was moderated: that is a failure.
"""

from __future__ import annotations

import base64
import re
from urllib.parse import quote, urlsplit

import msgspec

from tokenmarket.adapters.kit.shape import count, mapping, sequence, text
from tokenmarket.adapters.kit.video_answers import failed
from tokenmarket.adapters.kit.video_orders import JSON_HEADERS, leftover
from tokenmarket.adapters.protocol import Produced, UpstreamRequest
from tokenmarket.adapters.video_protocol import (
    Failed,
    FailureCode,
    Observation,
    Output,
    Running,
    Succeeded,
    Unknown,
)
from tokenmarket.core.catalog import Route
from tokenmarket.core.uploads import Input
from tokenmarket.core.video.request import ResolvedVideo

# google.rpc.Code, as numbers.
FAILURES: dict[str, FailureCode] = {
    "4": "upstream_timeout",
    "8": "upstream_capacity",
    "13": "upstream_error",
    "14": "upstream_capacity",
}
_INVALID_ARGUMENT = 3
_NAME = re.compile(r"[A-Za-z0-9][\w.:-]*(?:/[A-Za-z0-9][\w.:-]*)+", re.ASCII)

_encode = msgspec.json.Encoder().encode


def inline(item: Input) -> dict[str, object]:
    """The engine has fetched every address: files are bytes here."""
    data = b"" if item.upload is None else item.upload.data()
    kind = "" if item.upload is None else item.upload.content_type
    return {"bytesBase64Encoded": base64.b64encode(data).decode("ascii"), "mimeType": kind}


def create(request: ResolvedVideo, route: Route) -> UpstreamRequest:
    """The prediction; 1080p and 4k are of eight seconds only, which the catalog has to know."""
    instance: dict[str, object] = {}
    if request.prompt:
        instance["prompt"] = request.prompt
    taken = {"seconds", "resolution", "size", "aspect_ratio", "seed", "negative_prompt", "n"}
    taken |= {"prompt_enhance", "first_frame", "last_frame", "reference_image", "video"}
    for role, member in (("first_frame", "image"), ("last_frame", "lastFrame"), ("video", "video")):
        if (item := request.input(role)) is not None:
            instance[member] = inline(item)
    references = request.inputs_of("reference_image")
    if references:
        instance["referenceImages"] = [
            {"image": inline(item), "referenceType": "asset"} for item in references
        ]
    parameters: dict[str, object] = {**request.provider_options, "sampleCount": request.n}
    for name, member in (
        ("aspect_ratio", "aspectRatio"),
        ("resolution", "resolution"),
        ("seconds", "durationSeconds"),
        ("seed", "seed"),
        ("negative_prompt", "negativePrompt"),
        ("prompt_enhance", "enhancePrompt"),
    ):
        if (value := getattr(request, name)) is not None:
            parameters[member] = value
    if route.model.capabilities.get("audio") == "always":
        taken.add("audio")
    elif request.audio is not None:
        parameters["generateAudio"] = request.audio
        taken.add("audio")
    body = _encode({"instances": [instance], "parameters": parameters})
    path = f"/models/{quote(route.upstream_model, safe='')}:predictLongRunning"
    return UpstreamRequest(path, JSON_HEADERS, body, dropped=leftover(request, taken))


def operation_name(answer: dict[str, object]) -> str | None:
    """The operation's name, if it can be a path below the base URL."""
    name = text(answer.get("name"))
    return name if name and len(name) < 500 and _NAME.fullmatch(name) else None


def observed(answer: dict[str, object], route: Route) -> Observation:
    """The state of an operation."""
    if operation_name(answer) is None:
        return Unknown("an answer that is no operation")
    done = answer.get("done")
    if done in (None, False):
        return Running(provider_state="running")
    if done is not True:
        return Unknown("an operation that is neither done nor not")
    error = mapping(answer.get("error"))
    if error:
        code = error.get("code")
        return failed(
            error.get("message"),
            provider_code=code,
            codes=FAILURES,
            state="error",
            usual="invalid_input_media" if code == _INVALID_ARGUMENT else "upstream_error",
        )
    return _finished(mapping(answer.get("response")), route)


def _finished(response: dict[str, object], route: Route) -> Observation:
    nested = mapping(response.get("generateVideoResponse"))
    items = [mapping(item) for item in sequence(response.get("videos"))]
    items += [
        mapping(mapping(item).get("video")) for item in sequence(nested.get("generatedSamples"))
    ]
    outputs: list[Output] = []
    for item in items:
        if (file := produced(item, route)) is not None:
            outputs.append(Output(file, number=len(outputs)))
    filtered = max(
        count(response.get("raiMediaFilteredCount")), count(nested.get("raiMediaFilteredCount"))
    )
    reasons = sequence(response.get("raiMediaFilteredReasons")) or sequence(
        nested.get("raiMediaFilteredReasons")
    )
    if outputs:
        warnings = ("some_outputs_moderated",) if filtered > 0 else ()
        return Succeeded(tuple(outputs), provider_state="done", warnings=warnings)
    if filtered > 0 or reasons:
        first = next((reason for reason in reasons if text(reason)), None)
        words = failed(first, codes={}, state="done").message
        return Failed("moderated_output", words, provider_state="done")
    return Unknown("an operation that is done without a file", "done")


def produced(item: dict[str, object], route: Route) -> Produced | None:
    """One file: ``bytesBase64Encoded`` or ``data``, ``gcsUri`` or ``uri``."""
    kind = text(item.get("mimeType")) or text(item.get("mime_type"))
    kind = kind[:100] if kind else None
    if data := text(item.get("bytesBase64Encoded")) or text(item.get("data")):
        return Produced(b64=data, content_type=kind)
    url = text(item.get("gcsUri")) or text(item.get("uri"))
    if url is None:
        return None
    if url.startswith("gs://"):
        place = quote(url.removeprefix("gs://"), safe="/")
        url = f"https://storage.googleapis.com/{place}"
        return Produced(url=url, content_type=kind, credentialed=True)
    return Produced(url=url, content_type=kind, credentialed=_is_ours(url, route))


def _is_ours(url: str, route: Route) -> bool:
    """Whether the key may go along: only to the API's own host."""
    try:
        return urlsplit(url).netloc == urlsplit(route.provider.base_url).netloc
    except ValueError:
        return False
