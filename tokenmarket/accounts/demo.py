"""The first start on an empty data directory: an organisation, ten dollars, one key, a few curls.

The key is returned once, to be printed, and stored only as a digest like any other. Whoever calls
hands in the function that grants money, because accounts do not know the ledger.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tokenmarket.accounts import admin
from tokenmarket.accounts.admin import KeyWishes
from tokenmarket.core.money import NANO_PER_USD
from tokenmarket.store import accounts as rows
from tokenmarket.store.database import Database

ORG_NAME = "demo"
GRANT_NANO = 10 * NANO_PER_USD
GRANT_ID = "demo"
GRANT_REASON = "demo grant of the first start"

# (org_id, grant_id, amount_nano, reason): gives the money once, however often it is called
Grant = Callable[[str, str, int, str], Awaitable[object]]


async def first_start(
    database: Database, pepper: bytes, grant: Grant, *, now_us: int
) -> str | None:
    """The new key if there was no organisation at all, else None.

    A start that was killed between its steps is completed by the next one; only the key is lost
    then, and ``later_text`` says how to make another.
    """
    token: str | None = None
    async with database.begin() as conn:
        found = await rows.orgs(conn)
        if not found:
            org = await admin.create_org(
                conn, ORG_NAME, now_us=now_us, actor="first start", kind="demo"
            )
            wishes = KeyWishes(name="demo")
            made = await admin.create_key(
                conn, org, wishes, pepper, now_us=now_us, actor="first start"
            )
            token, found = made.token, [org]
    for org in found:
        if org.kind == "demo":
            await grant(org.id, GRANT_ID, GRANT_NANO, GRANT_REASON)
    return token


def welcome_text(base_url: str, token: str) -> str:
    """What the first start prints; every curl is one line and works as it stands."""
    lines = [
        "TokenMarket is ready. An organization with a 10 USD demo grant was made for you.",
        "",
        f"  base URL  {base_url}",
        f"  API key   {token}",
        "            (shown this once; OpenAI clients: base_url and api_key are these two)",
        "",
        "Try it (the sandbox provider answers offline):",
    ]
    for title, command in commands(base_url, token):
        lines += ["", f"  # {title}", f"  {command}"]
    return "\n".join(lines) + "\n"


def later_text(base_url: str) -> str:
    """What every later start prints."""
    return (
        f"TokenMarket is ready at {base_url}\n"
        "  another key:  tokenmarket key create --org demo  (with the same --data)\n"
    )


def commands(base_url: str, token: str) -> list[tuple[str, str]]:
    """(operation, curl) for everything that exists now."""
    auth = f"-H 'Authorization: Bearer {token}'"
    chat = '{"model":"sandbox-chat","messages":[{"role":"user","content":"Hello!"}]}'
    streamed = chat.replace('"messages"', '"stream":true,"messages"')
    completion = '{"model":"sandbox-chat","prompt":"Once upon a time","max_tokens":32}'
    embedding = '{"model":"sandbox-embed","input":"Hello!"}'
    image = '{"model":"sandbox-image","prompt":"A paper plane over a lake","size":"512x512"}'
    speech = '{"model":"sandbox-speech","input":"Hello!","voice":"alloy","response_format":"wav"}'
    rerank = (
        '{"model":"sandbox-rerank","query":"paper planes","top_n":2,"return_documents":true,'
        '"documents":["How to fold paper planes","Weather of the lake","Planes and trains"]}'
    )
    moderation = '{"model":"sandbox-moderation","input":"Hello!"}'
    video = (
        '{"model":"sandbox-video","prompt":"A paper plane flying over a lake at sunrise",'
        '"size":"1280x720"}'
    )

    def post(path: str, body: str, options: str = "-s") -> str:
        json = "-H 'Content-Type: application/json'"
        return f"curl {options} {base_url}/{path} {auth} {json} -d '{body}'"

    def get(path: str) -> str:
        return f"curl -s {base_url}/{path} {auth}"

    def upload(path: str, model: str, file: str) -> str:
        return f"curl -s {base_url}/{path} {auth} -F model={model} -F file=@{file}"

    hello = "hello.wav"
    say = post("audio/speech", speech, f"-s -o {hello}")
    last_id = (
        post("chat/completions", chat, "-s -o /dev/null -D -")
        + " | tr -d '\\r' | awk 'tolower($1)==\"x-request-id:\"{print $2}'"
    )
    return [
        ("chat", post("chat/completions", chat)),
        ("chat, streamed", post("chat/completions", streamed, "-sN")),
        ("completions", post("completions", completion)),
        ("embeddings", post("embeddings", embedding)),
        ("image", post("images/generations", image)),
        ("speech, into a file", say),
        ("transcription of that file", upload("audio/transcriptions", "sandbox-transcribe", hello)),
        ("translation", upload("audio/translations", "sandbox-translate", hello)),
        ("rerank", post("rerank", rerank)),
        ("moderation", post("moderations", moderation)),
        ("video: a task", post("video/generations", video)),
        ("videos of this key's organization", get("videos")),
        ("models and prices", get("models")),
        ("credits", get("credits")),
        ("receipt: what a request cost and why", get(f'requests/"$({last_id})"')),
    ]
