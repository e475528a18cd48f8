"""Code that sends the example of an operation: curl, Python and JavaScript, as they would be typed.

The key is the variable TOKENMARKET_API_KEY; ``REQUEST_ID``, ``VIDEO_ID`` and files are the
reader's. Python uses httpx, JavaScript fetch: nothing hides what goes over the wire.
"""

from __future__ import annotations

import json
import re
from typing import Any

LANGUAGES = ("curl", "Python", "JavaScript")
PICTURE = "https://example.org/picture.png"
SOUND = "{sound}"
_PLACES = {"model": "sandbox-chat"}
_PARAMETER = re.compile(r"\{(\w+)\}")


def samples(
    base_url: str,
    method: str,
    path: str,
    *,
    example: dict[str, Any] | None = None,
    form: bool = False,
    key: str = "TOKENMARKET_API_KEY",
) -> list[tuple[str, str]]:
    """(name of the tab, code) of each language. ``form``: the body is sent as one."""
    url = base_url + _PARAMETER.sub(lambda found: _place(found[1], path), path)
    body = json.loads(json.dumps(example).replace("{picture}", PICTURE)) if example else None
    written = (
        _curl(url, method, body, form, key),
        _python(url, method, body, form, key),
        _javascript(url, method, body, form, key),
    )
    return list(zip(LANGUAGES, written, strict=True))


def _place(name: str, path: str) -> str:
    if name == "id" and "/video" in path:
        return "VIDEO_ID"
    return _PLACES.get(name) or ("REQUEST_ID" if "/requests/" in path else name.upper())


def _parts(body: dict[str, Any]) -> list[tuple[str, str, bool]]:
    """(name, value, whether it is a file) of a form."""
    return [
        (name, "hello.wav" if value == SOUND else str(value), value == SOUND)
        for name, value in body.items()
    ]


def _curl(url: str, method: str, body: dict[str, Any] | None, form: bool, key: str) -> str:
    lines = [f"curl {url}", f'-H "Authorization: Bearer ${key}"']
    if method not in ("GET", "POST") or (method == "POST" and body is None):
        lines[0] = f"curl -X {method} {url}"
    if body is not None and form:
        lines += [f"-F {name}={'@' if file else ''}{value}" for name, value, file in _parts(body)]
    elif body is not None:
        text = json.dumps(body, ensure_ascii=False, indent=2).replace("'", "'\\''")
        lines += ['-H "Content-Type: application/json"', f"-d '{text}'"]
    return " \\\n  ".join(lines)


def _python(url: str, method: str, body: dict[str, Any] | None, form: bool, key: str) -> str:
    given = [f'    "{url}",', '    headers={"Authorization": f"Bearer {key}"},']
    if body is not None and form:
        fields = {name: value for name, value, file in _parts(body) if not file}
        files = [f'"{name}": open("{value}", "rb")' for name, value, file in _parts(body) if file]
        given.append(f"    data={_literal(fields)},")
        given.append("    files={" + ", ".join(files) + "},")
    elif body is not None:
        given.append(f"    json={_literal(body)},")
    if method in ("GET", "DELETE"):
        call = f"httpx.{method.lower()}("
    else:
        call = f"httpx.{method.lower()}("
        given.append("    timeout=120,")
    return "\n".join(
        [
            "import os",
            "",
            "import httpx",
            "",
            f'key = os.environ["{key}"]',
            f"answer = {call}",
            *given,
            ")",
            "answer.raise_for_status()",
            'print(answer.headers["x-request-id"], answer.text[:500])',
        ]
    )


def _literal(value: Any) -> str:
    """A Python literal over several lines, indented as an argument."""
    text = json.dumps(value, ensure_ascii=False, indent=4)
    text = re.sub(r"(?<=: )(true|false|null)\b", lambda m: _CONSTANTS[m[1]], text)
    return text.replace("\n", "\n    ")


_CONSTANTS = {"true": "True", "false": "False", "null": "None"}


def _javascript(url: str, method: str, body: dict[str, Any] | None, form: bool, key: str) -> str:
    lines: list[str] = []
    if body is not None and form:
        lines += ['import { openAsBlob } from "node:fs";', "", "const form = new FormData();"]
        for name, value, file in _parts(body):
            shown = f'await openAsBlob("{value}"), "{value}"' if file else json.dumps(value)
            lines.append(f'form.append("{name}", {shown});')
    lines += [f'const answer = await fetch("{url}", {{']
    if method != "GET":
        lines.append(f'  method: "{method}",')
    auth = f"Authorization: `Bearer ${{process.env.{key}}}`"
    if body is not None and not form:
        lines += ["  headers: {", f"    {auth},", '    "Content-Type": "application/json",', "  },"]
        text = json.dumps(body, ensure_ascii=False, indent=2).replace("\n", "\n  ")
        lines.append(f"  body: JSON.stringify({text}),")
    else:
        lines.append(f"  headers: {{ {auth} }},")
        if body is not None:
            lines.append("  body: form,")
    lines += ["});", "if (!answer.ok) throw new Error(await answer.text());"]
    lines.append('console.log(answer.headers.get("x-request-id"), await answer.text());')
    return "\n".join(lines)
