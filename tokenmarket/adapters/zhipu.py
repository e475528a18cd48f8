"""Zhipu GLM and Z.ai (https://docs.z.ai, https://docs.bigmodel.cn; facts as of 2026-11-23)."""

from msgspec.structs import replace

from tokenmarket.adapters.kit.openai_chat import OpenAIChat
from tokenmarket.adapters.kit.openai_embeddings import OpenAIEmbeddings
from tokenmarket.adapters.kit.quirks import OPENAI_ONLY, SAMPLING, Quirks

_OWN = Quirks(
    # Documented members only: the rest is ignored there, so it is named as dropped here.
    drop=OPENAI_ONLY
    | (SAMPLING - {"temperature", "top_p"})
    | {"seed", "parallel_tool_calls", "user"},
    n_max=1,
    temperature_max=1.0,
    tool_choices=frozenset({"auto"}),
    reasoning="thinking",  # GLM-5.3 grades: it has reasoning_efforts in the catalog
    efforts=(("minimal", "low"), ("medium", "high"), ("xhigh", "max")),
    codes={
        **dict.fromkeys(("1000", "1001", "1002", "1003", "1004"), "auth"),
        "1113": "no_balance",
        **dict.fromkeys(("1210", "1212", "1213", "1214", "1215"), "bad_request"),
        "1234": "upstream_error",
        "1301": "content_policy",
        "1302": "rate_limited",
        "1303": "rate_limited",
        "1304": "quota_exhausted",
        "1305": "overloaded",
        "1308": "quota_exhausted",
    },
)

CHAT = OpenAIChat(_OWN)
EMBEDDINGS = OpenAIEmbeddings(replace(_OWN, path="/embeddings", base64=False))
