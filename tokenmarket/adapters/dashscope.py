"""Qwen on DashScope, compatible mode.

https://help.aliyun.com/zh/model-studio; facts as of 2026-11-23.
"""

from msgspec.structs import replace

from tokenmarket.adapters.kit.openai_chat import OpenAIChat
from tokenmarket.adapters.kit.openai_embeddings import OpenAIEmbeddings
from tokenmarket.adapters.kit.quirks import OPENAI_ONLY, Quirks

_OWN = Quirks(
    drop=OPENAI_ONLY - {"modalities", "audio"},  # Omni models know both
    reasoning="enable_thinking",
    codes={
        "invalidapikey": "auth",
        "arrearage": "no_balance",  # with HTTP 400
        "throttling": "rate_limited",
        "throttling.ratequota": "rate_limited",
        "throttling.allocationquota": "rate_limited",
        "datainspectionfailed": "content_policy",
        "data_inspection_failed": "content_policy",
        "accessdenied": "forbidden",
        "modelnotfound": "not_found",
        "internalerror": "upstream_error",
    },
)

CHAT = OpenAIChat(_OWN)
EMBEDDINGS = OpenAIEmbeddings(replace(_OWN, path="/embeddings"))
