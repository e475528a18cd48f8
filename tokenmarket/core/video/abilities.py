"""What a video model can do: its catalog row's ``capabilities``, read once into a typed form.

Keys (all optional; shown as they are by ``GET /videos/models``):

    seconds              [5, 10] or {min = 3, max = 15}         default_seconds
    sizes                ["1280x720", …]                        default_size
    resolutions          ["720p", "1080p"]                      default_resolution
    aspect_ratios        ["16:9", "adaptive"]                   default_aspect_ratio
    modes                ["std", "pro"]                         default_mode
    audio                false | true | "price" | "always"      default_audio
    fps                  24 (fixed) or [24, 30]                 default_fps
    frames               ["first_frame", "last_frame"]; image_to_video = true means the first
    max_references       whole number; reference_kinds = ["image", "video", "audio"] (image)
    operations           ["remix", "edit", "extend"]
    n_max                whole number (1)
    seed, negative_prompt, camera, prompt_enhance, watermark    false: refused
    prompt_optional      with an image the prompt may be missing
    prompt_chars_max     whole number
    prompt_flags         the model reads ``--dur 10`` in prompts: they are taken out
    provider_options     ["cfg_scale", …] that callers may pass on
    expected_s, deadline_s
    seconds_max          longest possible output where the length cannot be asked for
    input_seconds_max    longest source or reference video, all together
    free_images          input images that cost nothing
    output_tokens_per_second   of models that bill output tokens

A list's default is its ``default_…``, else its first item. A row without any key is a model that
nobody described: what the caller asks for goes to the provider unchecked.
"""

from __future__ import annotations

from typing import cast

import msgspec

SECONDS_UNKNOWN_MAX = 60
INPUT_SECONDS_UNKNOWN_MAX = 60
SWITCHES = ("seed", "negative_prompt", "camera", "prompt_enhance", "watermark")


class Abilities(msgspec.Struct, frozen=True):
    """``described`` False: nothing is known, nothing is refused. Empty tuples: no such choice."""

    described: bool
    seconds: tuple[int, ...] = ()
    seconds_min: int = 0  # with seconds_max: a range instead of a list; 0 = none
    seconds_max: int = 0
    default_seconds: int | None = None
    sizes: tuple[str, ...] = ()
    default_size: str | None = None
    resolutions: tuple[str, ...] = ()
    default_resolution: str | None = None
    aspect_ratios: tuple[str, ...] = ()
    default_aspect_ratio: str | None = None
    modes: tuple[str, ...] = ()
    default_mode: str | None = None
    audio: str = ""  # "" no · "free" either way at one price · "price" · "always"
    default_audio: bool | None = None
    fps: tuple[int, ...] = ()
    default_fps: int | None = None
    frames: tuple[str, ...] = ()
    max_references: int = 0
    reference_kinds: tuple[str, ...] = ("image",)
    operations: tuple[str, ...] = ()
    n_max: int = 1
    refused: tuple[str, ...] = ()  # switches that are false
    prompt_optional: bool = False
    prompt_chars_max: int = 0
    prompt_flags: bool = False
    provider_options: tuple[str, ...] = ()
    expected_s: int = 0
    deadline_s: int = 0
    output_seconds_max: int = SECONDS_UNKNOWN_MAX
    input_seconds_max: int = INPUT_SECONDS_UNKNOWN_MAX
    free_images: int = 0
    output_tokens_per_second: int = 0


def abilities(capabilities: dict[str, object]) -> Abilities:
    """Read a row. What has another type than described above counts as absent."""
    get = capabilities.get
    span = _table(get("seconds"))
    frames = _words(get("frames"))
    if not frames and get("image_to_video") is True:
        frames = ("first_frame",)
    fps = get("fps")
    audio = get("audio")
    return Abilities(
        described=bool(capabilities),
        seconds=_numbers(get("seconds")),
        seconds_min=_count(span.get("min")),
        seconds_max=_count(span.get("max")),
        default_seconds=_count(get("default_seconds")) or None,
        sizes=_words(get("sizes")),
        default_size=_word(get("default_size")),
        resolutions=_words(get("resolutions")),
        default_resolution=_word(get("default_resolution")),
        aspect_ratios=_words(get("aspect_ratios")),
        default_aspect_ratio=_word(get("default_aspect_ratio")),
        modes=_words(get("modes")),
        default_mode=_word(get("default_mode")),
        audio="free" if audio is True else audio if audio in ("price", "always") else "",
        default_audio=_truth(get("default_audio")),
        fps=(_count(fps),) if _count(fps) else _numbers(fps),
        default_fps=_count(get("default_fps")) or None,
        frames=frames,
        max_references=_count(get("max_references")),
        reference_kinds=_words(get("reference_kinds")) or ("image",),
        operations=_words(get("operations")),
        n_max=_count(get("n_max")) or 1,
        refused=tuple(name for name in SWITCHES if get(name) is False),
        prompt_optional=get("prompt_optional") is True,
        prompt_chars_max=_count(get("prompt_chars_max")),
        prompt_flags=get("prompt_flags") is True,
        provider_options=_names(get("provider_options")),
        expected_s=_count(get("expected_s")),
        deadline_s=_count(get("deadline_s")),
        output_seconds_max=_count(get("seconds_max")) or SECONDS_UNKNOWN_MAX,
        input_seconds_max=_count(get("input_seconds_max")) or INPUT_SECONDS_UNKNOWN_MAX,
        free_images=_count(get("free_images")),
        output_tokens_per_second=_count(get("output_tokens_per_second")),
    )


def _table(value: object) -> dict[str, object]:
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def _items(value: object) -> list[object]:
    return [*cast("list[object]", value)] if isinstance(value, list | tuple) else []


def _names(value: object) -> tuple[str, ...]:
    return tuple(item for item in _items(value) if isinstance(item, str))


def _words(value: object) -> tuple[str, ...]:
    return tuple(name.lower() for name in _names(value))


def _numbers(value: object) -> tuple[int, ...]:
    return tuple(number for item in _items(value) if (number := _count(item)))


def _word(value: object) -> str | None:
    return value.lower() if isinstance(value, str) and value else None


def _truth(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _count(value: object) -> int:
    return value if type(value) is int and 0 < value < 10**9 else 0
