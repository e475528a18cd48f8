"""One video order: what the caller asked for, and what is really sent and priced.

    parse.py         body            -> VideoRequest    names normalised, nothing added
    capabilities.py  VideoRequest    -> ResolvedVideo   defaults filled in, checked, priced
    dump / load      ResolvedVideo  <-> JSON            kept with the task, outlives the process

What a reader must know:

* Fields that the caller did not give are None. A ResolvedVideo has the value that is sent upstream
  exactly so, or None where the model has no such knob: adapters send what is set, and nothing else.
* ``inputs`` are the caller's files (``core/uploads.py``), in the caller's order, with the roles
  first_frame, last_frame, reference_image, reference_video, reference_audio, and video (the source
  of an edit or extension). Uploads are not JSON: ``dump`` writes where they were stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from tokenmarket.core.requests import ProviderChoice
from tokenmarket.core.uploads import Input, Upload
from tokenmarket.core.usage import Bound

VideoOperation = Literal["generate", "remix", "edit", "extend"]
FRAME_ROLES = ("first_frame", "last_frame")
REFERENCE_ROLES = ("reference_image", "reference_video", "reference_audio")


class Camera(msgspec.Struct, frozen=True, omit_defaults=True):
    """How the camera moves: not at all (``fixed``), by a named move, or by amounts.

    ``config`` has any of horizontal, vertical, pan, tilt, roll, zoom, each -10 … 10.
    """

    fixed: bool | None = None
    type: str | None = None
    config: dict[str, float] = {}


class VideoRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the caller asked for, under one name per thing (section 2.1 of the contract).

    ``given`` names, canonically, what was given explicitly: seconds, size, resolution,
    aspect_ratio, fps, audio, mode … ``options`` are provider options by provider name (OpenRouter's
    ``provider.options``), ``provider_options`` those for whichever provider serves.
    """

    model: str
    operation: VideoOperation = "generate"
    prompt: str = ""
    seconds: int | None = None
    width: int | None = None
    height: int | None = None
    resolution: str | None = None  # lower case: 360p … 4k, 2k
    aspect_ratio: str | None = None  # "16:9" … or "adaptive"
    fps: int | None = None
    seed: int | None = None
    n: int = 1
    negative_prompt: str | None = None
    mode: str | None = None
    camera: Camera | None = None
    audio: bool | None = None
    prompt_enhance: bool | None = None
    watermark: bool | None = None
    source_task_id: str | None = None  # a task of ours to remix, edit or extend
    provider_options: dict[str, object] = {}
    options: dict[str, dict[str, object]] = {}
    metadata: dict[str, object] = {}  # echoed, never forwarded
    metadata_options: bool = False  # except that those of its keys that the model lists are options
    callback_url: str | None = None
    callback_secret_ref: str | None = None
    user: str | None = None
    choice: ProviderChoice | None = None
    models: tuple[str, ...] = ()
    given: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    inputs: tuple[Input, ...] = ()

    @property
    def size(self) -> str | None:
        """``"1280x720"``, where pixels are known."""
        return None if self.width is None else f"{self.width}x{self.height}"

    def input(self, role: str) -> Input | None:
        """The first input of a role."""
        return next((item for item in self.inputs if item.role == role), None)

    def inputs_of(self, *roles: str) -> tuple[Input, ...]:
        """The inputs of the roles, in the caller's order."""
        return tuple(item for item in self.inputs if item.role in roles)


class ResolvedVideo(VideoRequest, frozen=True, omit_defaults=True):
    """What is sent upstream and priced. Made by ``capabilities.resolve``.

    ``attributes`` are the price attributes (mode, resolution, size, audio, seconds, fps …) and
    ``bound`` the most that it can consume. ``defaults`` names what we added because the caller
    left it open. ``source_upstream_id`` is the source's id at the provider that made it, set by the
    engine only when the same provider and account serves again.
    """

    attributes: dict[str, str] = {}
    bound: Bound = Bound()
    defaults: tuple[str, ...] = ()
    source_upstream_id: str | None = None


# --------------------------------------------------------------------------------- kept as JSON


class _KeptInput(msgspec.Struct, frozen=True, omit_defaults=True):
    role: str
    param: str
    url: str | None = None
    stored: str | None = None


class _Kept(msgspec.Struct, frozen=True):
    video: msgspec.Raw
    inputs: list[_KeptInput]


_encode = msgspec.json.Encoder().encode
_decode_kept = msgspec.json.Decoder(_Kept).decode
_decode_resolved = msgspec.json.Decoder(ResolvedVideo).decode


def dump(video: ResolvedVideo, stored: Mapping[int, str] | None = None) -> bytes:
    """JSON of the order. ``stored``: number of an input -> where its bytes are kept; every input
    that is an upload needs one (ValueError)."""
    places = stored or {}
    kept: list[_KeptInput] = []
    for number, item in enumerate(video.inputs):
        if item.upload is not None and number not in places:
            raise ValueError(f"the bytes of {item.param} are stored nowhere")
        kept.append(_KeptInput(item.role, item.param, item.url, places.get(number)))
    bare = msgspec.structs.replace(video, inputs=())
    return _encode(_Kept(msgspec.Raw(_encode(bare)), kept))


def stored_inputs(data: bytes) -> tuple[str, ...]:
    """Where the bytes of the uploads of a dumped order are kept: what ``load`` wants opened."""
    return tuple(item.stored for item in _decode_kept(data).inputs if item.stored is not None)


def load(data: bytes, uploads: Mapping[str, Upload] | None = None) -> ResolvedVideo:
    """The order again. An input whose bytes are not among ``uploads`` is left out: once submitted,
    nobody needs them."""
    found = uploads or {}
    kept = _decode_kept(data)
    inputs: list[Input] = []
    for item in kept.inputs:
        upload = None if item.stored is None else found.get(item.stored)
        if item.url is not None or upload is not None:
            inputs.append(
                Input(item.role, item.param, item.url if upload is None else None, upload)
            )
    return msgspec.structs.replace(_decode_resolved(kept.video), inputs=tuple(inputs))
