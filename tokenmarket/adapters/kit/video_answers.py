"""What video adapters have in common about answers: numbers that are checked, reasons classified.

Every field may be missing, of another type, or huge; what cannot be believed is None.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation

import msgspec

from tokenmarket.adapters.kit.openai_errors import clean
from tokenmarket.adapters.kit.shape import mapping, text
from tokenmarket.adapters.video_protocol import Failed, FailureCode, ProviderCost

SECONDS_MAX = 86_400
_RETRYABLE = frozenset({"upstream_capacity", "upstream_error", "upstream_timeout"})
_NO_REASON = "The provider gave no reason."

# Words of failures that come without a code.
_POLICY = re.compile(
    r"risk control|sensitive|content (policy|safety)|safety (policy|system|filter)|nsfw|moderat"
    r"|prohibited|usage guidelines|风控|敏感|违规",
    re.IGNORECASE,
)

_decode = msgspec.json.Decoder().decode


def read(body: bytes) -> dict[str, object]:
    """The answer's JSON object; an empty one for anything else."""
    try:
        return mapping(_decode(body))
    except (msgspec.DecodeError, RecursionError):
        return {}


def duration_ms(value: object) -> int | None:
    """Seconds as a number or as text ("5", "5.04")."""
    if isinstance(value, str) and re.fullmatch(r"\d{1,6}(?:\.\d{1,9})?", value, re.ASCII):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value * 1000) if 0 < value <= SECONDS_MAX else None


def billable_ms(reported_ms: int | None, seconds: int | None) -> int | None:
    """What is billed where providers bill the seconds ordered: their files are a frame or two
    longer or shorter. Within half a second of the order it is the order."""
    if reported_ms is None or seconds is None:
        return reported_ms
    return seconds * 1000 if abs(reported_ms - seconds * 1000) <= 500 else reported_ms


def whole(value: object, most: int = 10**9) -> int | None:
    """A whole number above nothing, also written as text."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16:
        value = int(value)
    return value if type(value) is int and 0 < value <= most else None


def percent(value: object) -> int | None:
    """0-100."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:
        return None
    return int(value)


def unix_s(value: object) -> int | None:
    """Unix time in seconds."""
    return value if type(value) is int and 0 < value < 10**11 else None


def cost(amount: object, currency: str) -> ProviderCost | None:
    """A cost from the provider's decimal string (or number)."""
    if isinstance(amount, bool) or not isinstance(amount, str | int | float):
        return None
    try:
        exact = Decimal(str(amount)[:40])
    except InvalidOperation:
        return None
    if not exact.is_finite() or not 0 <= exact < 10**9:
        return None
    return ProviderCost(f"{exact:f}", currency)


def failed(
    message: object,
    *,
    provider_code: object = None,
    codes: Mapping[str, FailureCode],
    state: str,
    usual: FailureCode = "upstream_error",
    charged: ProviderCost | None = None,
) -> Failed:
    """A failure from the provider's code (``codes``, lower case, looked up whole and then up to
    each dot), or, where the code says nothing, from its words."""
    code = str(provider_code) if type(provider_code) in (str, int) else ""
    words = text(message) or ""
    kind = _by_code(code.lower(), codes)
    if kind is None and _POLICY.search(words[:4000]):
        kind = "content_policy_violation"
    kind = kind or usual
    return Failed(
        kind,
        clean(words) or _NO_REASON,
        provider_code=clean(code)[:80] or None,
        retryable=kind in _RETRYABLE,
        cost=charged,
        provider_state=state[:40],
    )


def _by_code(code: str, codes: Mapping[str, FailureCode]) -> FailureCode | None:
    code = code[:200]
    while code:
        if code in codes:
            return codes[code]
        code = code.rpartition(".")[0]
    return None
