"""A first request for every operation in curl, Python and JavaScript, for one model.

Python and JavaScript use OpenAI's own clients where those have the operation, because that is what
people have. The key is read from the environment and never stands in a sample.
"""

from __future__ import annotations

import json
from typing import NamedTuple

KEY = "TOKENMARKET_API_KEY"


class Samples(NamedTuple):
    """The same request three times."""

    curl: str
    python: str
    javascript: str


# operation -> path and body without the model
_BODIES: dict[str, tuple[str, dict[str, object]]] = {
    "chat": ("chat/completions", {"messages": [{"role": "user", "content": "Hello!"}]}),
    "completions": ("completions", {"prompt": "Once upon a time", "max_tokens": 32}),
    "embeddings": ("embeddings", {"input": "Hello!"}),
    "images": ("images/generations", {"prompt": "A paper plane over a lake"}),
    "speech": ("audio/speech", {"input": "Hello!", "voice": "alloy"}),
    "rerank": (
        "rerank",
        {"query": "paper planes", "documents": ["How to fold one", "Weather of the lake"]},
    ),
    "video": ("video/generations", {"prompt": "A paper plane flying over a lake"}),
    "moderation": ("moderations", {"input": "Hello!"}),
}
_FORMS = {"transcription": "audio/transcriptions", "translation": "audio/translations"}
_PYTHON = {
    "chat": ("chat.completions.create", "print(answer.choices[0].message.content)"),
    "completions": ("completions.create", "print(answer.choices[0].text)"),
    "embeddings": ("embeddings.create", "print(len(answer.data[0].embedding))"),
    "images": ("images.generate", "print(answer.data[0])"),
    "moderation": ("moderations.create", "print(answer.results[0].flagged)"),
}
_JAVASCRIPT = {
    "chat": ("chat.completions.create", "console.log(answer.choices[0].message.content);"),
    "completions": ("completions.create", "console.log(answer.choices[0].text);"),
    "embeddings": ("embeddings.create", "console.log(answer.data[0].embedding.length);"),
    "images": ("images.generate", "console.log(answer.data[0]);"),
    "moderation": ("moderations.create", "console.log(answer.results[0].flagged);"),
}


def samples(operation: str, model: str, base_url: str, provider: str | None = None) -> Samples:
    """``base_url`` ends in ``/api/v1``; ``provider`` pins a route. ``operation`` is one of
    ``core.catalog.OPERATIONS``."""
    if operation in _FORMS:
        return _form(_FORMS[operation], operation, model, base_url)
    path, rest = _BODIES[operation]
    body: dict[str, object] = {"model": model, **rest}
    if provider is not None:
        body["provider"] = provider
    return Samples(
        _curl(path, body, base_url, operation),
        _python(operation, path, body, base_url),
        _javascript(operation, path, body, base_url),
    )


def _curl(path: str, body: dict[str, object], base_url: str, operation: str) -> str:
    output = " -o hello.mp3" if operation == "speech" else ""
    text = json.dumps(body, indent=2, ensure_ascii=False).replace("'", "'\\''")
    return (
        f"curl {base_url}/{path}{output} \\\n"
        f'  -H "Authorization: Bearer ${KEY}" \\\n'
        '  -H "Content-Type: application/json" \\\n'
        f"  -d '{text}'"
    )


def _python(operation: str, path: str, body: dict[str, object], base_url: str) -> str:
    head = f'import os\nfrom openai import OpenAI\n\nclient = OpenAI(base_url="{base_url}", '
    head += f'api_key=os.environ["{KEY}"])\n'
    extra = ""
    known = {name: value for name, value in body.items() if name != "provider"}
    if "provider" in body:
        extra = f', extra_body={{"provider": {body["provider"]!r}}}'
    arguments = ", ".join(f"{name}={value!r}" for name, value in known.items())
    if operation == "speech":
        return (
            f"{head}with client.audio.speech.with_streaming_response.create({arguments}{extra}) "
            'as answer:\n    answer.stream_to_file("hello.mp3")'
        )
    if operation == "video":
        return (
            f"{head}video = client.videos.create_and_poll({arguments}{extra})\n"
            'client.videos.download_content(video.id).write_to_file("video.mp4")'
        )
    if operation in _PYTHON:
        call, show = _PYTHON[operation]
        return f"{head}answer = client.{call}({arguments}{extra})\n{show}"
    return (
        "import os\nimport httpx\n\n"
        f'answer = httpx.post("{base_url}/{path}", json={body!r},\n'
        f'    headers={{"Authorization": f"Bearer {{os.environ[\'{KEY}\']}}"}})\n'
        "print(answer.json())"
    )


def _javascript(operation: str, path: str, body: dict[str, object], base_url: str) -> str:
    text = json.dumps(body, indent=2, ensure_ascii=False)
    head = (
        'import OpenAI from "openai";\n\n'
        f'const client = new OpenAI({{ baseURL: "{base_url}", apiKey: process.env.{KEY} }});\n'
    )
    if operation in _JAVASCRIPT:
        call, show = _JAVASCRIPT[operation]
        return f"{head}const answer = await client.{call}({text});\n{show}"
    if operation == "speech":
        return (
            f'import {{ writeFile }} from "node:fs/promises";\n{head}'
            f"const answer = await client.audio.speech.create({text});\n"
            'await writeFile("hello.mp3", Buffer.from(await answer.arrayBuffer()));'
        )
    return (
        f'const answer = await fetch("{base_url}/{path}", {{\n'
        '  method: "POST",\n'
        f"  headers: {{ Authorization: `Bearer ${{process.env.{KEY}}}`, "
        '"Content-Type": "application/json" },\n'
        f"  body: JSON.stringify({text}),\n"
        "});\nconsole.log(await answer.json());"
    )


def _form(path: str, operation: str, model: str, base_url: str) -> Samples:
    method = "transcriptions" if operation == "transcription" else "translations"
    return Samples(
        f"curl {base_url}/{path} \\\n"
        f'  -H "Authorization: Bearer ${KEY}" \\\n'
        f"  -F model={model} -F file=@hello.wav",
        "import os\nfrom openai import OpenAI\n\n"
        f'client = OpenAI(base_url="{base_url}", api_key=os.environ["{KEY}"])\n'
        'with open("hello.wav", "rb") as file:\n'
        f'    print(client.audio.{method}.create(model="{model}", file=file).text)',
        'import { createReadStream } from "node:fs";\nimport OpenAI from "openai";\n\n'
        f'const client = new OpenAI({{ baseURL: "{base_url}", apiKey: process.env.{KEY} }});\n'
        f"const answer = await client.audio.{method}.create("
        f'{{ model: "{model}", file: createReadStream("hello.wav") }});\n'
        "console.log(answer.text);",
    )
