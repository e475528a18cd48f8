"""Volcengine Ark, Doubao (https://www.volcengine.com/docs/82379; facts as of 2026-11-23)."""

from msgspec.structs import replace

from tokenmarket.adapters.kit.openai_chat import OpenAIChat
from tokenmarket.adapters.kit.openai_embeddings import OpenAIEmbeddings
from tokenmarket.adapters.kit.quirks import OPENAI_ONLY, Quirks

_OWN = Quirks(
    drop=OPENAI_ONLY - {"logit_bias"},
    n_max=1,
    reasoning="thinking",
    codes={
        "authenticationerror": "auth",
        "accountoverdueerror": "no_balance",
        "accessdenied": "forbidden",
        "invalidendpoint.closedendpoint": "not_found",
        "invalidendpointormodel.notfound": "not_found",
        "modelnotopen": "not_found",
        "inputtextriskdetection": "content_policy",
        "inputimageriskdetection": "content_policy",
        "outputtextriskdetection": "content_policy",
        "sensitivecontentdetected": "content_policy",
        "ratelimitexceeded.endpointrpmexceeded": "rate_limited",
        "ratelimitexceeded.endpointtpmexceeded": "rate_limited",
        "modelaccountrpmratelimitexceeded": "rate_limited",
        "quotaexceeded": "quota_exhausted",
        "serveroverloaded": "overloaded",
        "internalserviceerror": "upstream_error",
    },
    base64=False,
)

CHAT = OpenAIChat(_OWN)
EMBEDDINGS = OpenAIEmbeddings(replace(_OWN, path="/embeddings"))
