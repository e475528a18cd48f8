"""Files that ffmpeg makes, where it is installed: the writers of this folder are only ours."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tokenmarket.core.media.audio import duration_ms
from tokenmarket.core.media.images import image_size
from tokenmarket.core.media.reader import BytesReader
from tokenmarket.core.media.sniff import SNIFF_BYTES, sniff
from tokenmarket.core.media.video import video_info

SOUND = ("-f", "lavfi", "-i", "sine=440:duration=7.3")
PICTURE = ("-f", "lavfi", "-i", "testsrc=size=320x240:rate=30000/1001:duration=4")
# encoders add up to a frame and their delay
SLACK_MS = 120

SOUNDS = {
    "a.wav": ("audio/wav", ()),
    "b.wav": ("audio/wav", ("-c:a", "pcm_f32le")),
    "c.wav": ("audio/wav", ("-rf64", "always")),
    "a.mp3": ("audio/mpeg", ()),
    "b.mp3": ("audio/mpeg", ("-q:a", "4", "-ar", "24000")),
    "c.mp3": ("audio/mpeg", ("-write_xing", "0")),
    "a.aac": ("audio/aac", ()),
    "a.flac": ("audio/flac", ()),
    "a.opus": ("audio/ogg", ("-c:a", "libopus")),
    "a.ogg": ("audio/ogg", ("-c:a", "libvorbis")),
    "a.m4a": ("audio/mp4", ()),
    "b.m4a": ("audio/mp4", ("-movflags", "faststart")),
    "a.mp4": ("video/mp4", ("-movflags", "empty_moov", "-frag_duration", "1000000")),
    "a.webm": ("video/webm", ("-c:a", "libopus")),
    "b.webm": ("video/webm", ("-c:a", "libopus", "-live", "1")),
    "a.mka": ("video/x-matroska", ("-c:a", "flac")),
}
FILMS = {
    "a.mp4": ("video/mp4", ("-c:v", "mpeg4")),
    "b.mp4": ("video/mp4", ("-c:v", "mpeg4", "-movflags", "faststart")),
    "c.mov": ("video/quicktime", ("-c:v", "mpeg4")),
    "d.webm": ("video/webm", ("-c:v", "libvpx", "-c:a", "libopus")),
}
IMAGES = {"a.png": "image/png", "a.jpg": "image/jpeg", "a.webp": "image/webp", "a.gif": "image/gif"}


def made(folder: Path, name: str, *arguments: str) -> bytes:
    program = shutil.which("ffmpeg")
    if program is None:
        pytest.skip("ffmpeg is not installed")
    path = folder / name
    command = [program, "-v", "error", *arguments, str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if "Unknown encoder" in result.stderr:
        pytest.skip(f"this ffmpeg lacks the encoder for {name}")
    assert result.returncode == 0, result.stderr
    return path.read_bytes()


def probed_ms(path: Path) -> float | None:
    """What ffprobe says; None where it is absent, or cannot tell (a live WebM)."""
    program = shutil.which("ffprobe")
    if program is None:
        return None
    command = [program, "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0"]
    result = subprocess.run(
        [*command, str(path)], capture_output=True, text=True, check=True, timeout=60
    )
    said = result.stdout.strip()
    return None if said in ("", "N/A") else float(said) * 1000


@pytest.mark.parametrize("name", SOUNDS)
def test_sound(tmp_path: Path, name: str) -> None:
    content_type, options = SOUNDS[name]
    data = made(tmp_path, name, *SOUND, *options)
    assert sniff(data[:SNIFF_BYTES]) == content_type
    found = duration_ms(BytesReader(data))
    assert found is not None
    assert abs(found - 7300) <= SLACK_MS
    probed = None if name == "a.aac" else probed_ms(tmp_path / name)  # of ADTS it only estimates
    if probed is not None:
        assert abs(found - probed) <= SLACK_MS


@pytest.mark.parametrize("name", FILMS)
def test_film(tmp_path: Path, name: str) -> None:
    content_type, options = FILMS[name]
    data = made(tmp_path, name, *PICTURE, *SOUND, "-t", "4", *options)
    found = video_info(BytesReader(data))
    assert (found.content_type, found.width, found.height) == (content_type, 320, 240)
    assert found.has_audio
    assert found.duration_ms is not None
    assert abs(found.duration_ms - 4000) <= SLACK_MS
    assert found.fps_milli is not None
    assert abs(found.fps_milli - 29_970) <= 400  # Matroska rounds a frame's time to milliseconds


@pytest.mark.parametrize("name", IMAGES)
def test_picture(tmp_path: Path, name: str) -> None:
    data = made(tmp_path, name, *PICTURE, "-frames:v", "1")
    found = image_size(data)
    assert (found.content_type, found.width, found.height) == (IMAGES[name], 320, 240)
