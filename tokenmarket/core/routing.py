"""Which routes a request may take, in which order, and why. Pure: health and randomness come in.

``plan`` returns the routes to try and one Candidate per route that exists, with the reason; the
receipt shows them all. The caller's ``provider`` choice, the key's allow-lists, prices, credentials
and health each take routes away; what is left is ordered by the caller's wish or the policy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NoReturn

import msgspec

from tokenmarket.core.catalog import Catalog, Model, Route
from tokenmarket.core.errors import ApiError
from tokenmarket.core.money import usd_from_nano
from tokenmarket.core.parse import max_price_nano
from tokenmarket.core.pricing import Bound, Unpriced, ceiling
from tokenmarket.core.requests import MaxPrice, ProviderChoice, Request
from tokenmarket.core.usage import UNITS
from tokenmarket.core.wording import say

SkipKind = Literal["missing", "cooling", "limit", "caller", "key", "unpriced"]


class RouteState(msgspec.Struct, frozen=True):
    """What is known of a route right now. ``kind`` says why it is not available:
    missing (credentials; ``reason`` names what to set), cooling (breaker, credentials), limit."""

    available: bool = True
    kind: SkipKind | None = None
    reason: str | None = None
    retry_after_s: float | None = None
    latency_ms: float | None = None
    tokens_per_s: float | None = None


AVAILABLE = RouteState()


class Candidate(msgspec.Struct, array_like=True):
    """One line of the route decision on the receipt."""

    provider: str
    upstream_model: str
    decision: Literal["chosen", "skipped", "failed"] = "skipped"
    reason: str | None = None


class Allowed(msgspec.Struct, frozen=True):
    """What a key may use; None = everything."""

    models: frozenset[str] | None = None
    providers: frozenset[str] | None = None
    operations: frozenset[str] | None = None


EVERYTHING = Allowed()


class Plan(msgspec.Struct):
    """Routes in the order to try; ``candidates`` explains all of them, same order first."""

    policy: str
    requested: str | None
    routes: tuple[Route, ...]
    candidates: tuple[Candidate, ...]


class _Skip(msgspec.Struct, frozen=True):
    kind: SkipKind
    reason: str
    retry_after_s: float | None = None


def plan(
    request: Request,
    allowed: Allowed,
    catalog: Catalog,
    state: Callable[[Route], RouteState],
    *,
    draw: int,
    near_names: Callable[[str], list[str]],
) -> Plan:
    """Raises ApiError: MODEL_001/002, AUTH_002, REQUEST_001, PROVIDER_001 (404), PROVIDER_002.

    ``draw`` is a random non-negative integer for weighted choice.
    """
    choice = request.choice
    if choice is None and not request.models and allowed is EVERYTHING:
        only = only_route(request, catalog, state)
        if only is not None:
            candidate = Candidate(only.provider.name, only.upstream_model)
            return Plan(only.model.policy, None, (only,), (candidate,))
    if allowed.operations is not None and request.operation not in allowed.operations:
        _forbidden(
            say("This key may not use the operation {operation!r}.", operation=request.operation)
        )
    if choice is not None:
        _check_provider_names(choice, catalog)
    routes: list[Route] = []
    candidates: list[Candidate] = []
    skips: list[_Skip] = []
    policy = "default"
    for position, name in enumerate((request.model, *request.models)):
        model = _model(name, catalog, request, near_names, f"models[{position - 1}]")
        if allowed.models is not None and model.id not in allowed.models:
            if position == 0 and not request.models:
                _forbidden(say("This key may not use the model {model!r}.", model=model.id))
            skips.append(_Skip("key", say("the key may not use this model")))
            continue
        policy = _policy(choice, model) if position == 0 else policy
        usable: list[tuple[Route, RouteState]] = []
        for route in catalog.routes.get(model.id, ()):
            found = _why_not(route, request, allowed, state)
            if isinstance(found, RouteState):
                usable.append((route, found))
            else:
                skips.append(found)
                candidates.append(
                    Candidate(
                        route.provider.name, route.upstream_model, "skipped", str(found.reason)
                    )
                )
        ordered = _order(usable, request, model, policy, draw) if len(usable) > 1 else usable
        if choice is not None and not choice.allow_fallbacks:
            candidates += [
                Candidate(r.provider.name, r.upstream_model, "skipped", "allow_fallbacks is false")
                for r, _ in ordered[1:]
            ]
            ordered = ordered[:1]
        routes += [route for route, _ in ordered]
    if not routes:
        _no_route(request, catalog, skips)
    tried = [Candidate(r.provider.name, r.upstream_model, "skipped") for r in routes]
    requested = None
    if choice is not None:
        requested = choice.only[0] if _is_pin(choice) else "object"
    return Plan(policy, requested, tuple(routes), (*tried, *candidates))


def only_route(
    request: Request, catalog: Catalog, state: Callable[[Route], RouteState]
) -> Route | None:
    """The model's one route if nothing speaks against it; None: look closer. The usual case."""
    routes = catalog.routes.get(request.model)
    if routes is None or len(routes) != 1:
        return None
    route = routes[0]
    model, bound = route.model, request.bound
    if (
        model.operation != request.operation
        or not model.enabled
        or not route.enabled
        or not route.provider.enabled
        or route.unpriced is not None
        or not route.prices.covers_input
        or not (route.prices.covers_output or request.operation == "embeddings")
        or bound.units
        or bound.any_units
        or bound.audio_input
        or bound.audio_output
        or not state(route).available
    ):
        return None
    return route


def _is_pin(choice: ProviderChoice) -> bool:
    return len(choice.only) == 1 and not choice.allow_fallbacks


def _policy(choice: ProviderChoice | None, model: Model) -> str:
    if choice is None:
        return model.policy
    if _is_pin(choice):
        return "pinned"
    if choice.order:
        return "order"
    return choice.sort or model.policy


def _check_provider_names(choice: ProviderChoice, catalog: Catalog) -> None:
    for field in ("order", "only", "ignore"):
        for index, name in enumerate(getattr(choice, field)):
            if name not in catalog.providers:
                param = "provider" if _is_pin(choice) else f"provider.{field}[{index}]"
                raise ApiError(
                    "REQUEST_001",
                    say("There is no provider named {name!r}.", name=name[:80]),
                    param=param,
                )


def _model(
    name: str,
    catalog: Catalog,
    request: Request,
    near_names: Callable[[str], list[str]],
    path: str,
) -> Model:
    model = catalog.models.get(name) or catalog.models.get(catalog.aliases.get(name, ""))
    param = "model" if name == request.model else path
    if model is None or not model.enabled:
        near = near_names(name[:128])
        hint = say(" Did you mean {near}?", near=", ".join(near)) if near else ""
        raise ApiError(
            "MODEL_001",
            say("There is no model {name!r} here.{hint}", name=name[:128], hint=hint),
            param=param,
            details={"near_names": near},
        )
    if not serves(model, request.operation):
        raise ApiError(
            "REQUEST_001",
            say(
                "{model_id!r} is a model for {operation}, not for {wanted}.",
                model_id=model.id,
                operation=model.operation,
                wanted=request.operation,
            ),
            param=param,
            reason="wrong_operation",
        )
    return model


def serves(model: Model, operation: str) -> bool:
    """Whether the model answers the operation: its own, or one that its capabilities add to it (a
    chat model may serve legacy completions, one of transcription translations: whisper-1)."""
    if model.operation == operation:
        return True
    base, capability = _ADDED.get(operation, ("", ""))
    return model.operation == base and bool(model.capabilities.get(capability))


_ADDED = {
    "completions": ("chat", "completions"),
    "translation": ("transcription", "translations"),
}


def _why_not(
    route: Route, request: Request, allowed: Allowed, state: Callable[[Route], RouteState]
) -> RouteState | _Skip:
    """The route's state if it may be used, else why not."""
    provider = route.provider
    choice = request.choice
    if not route.enabled or not provider.enabled:
        return _Skip("unpriced", say("the route is switched off"))
    if route.unpriced is not None:
        return _unpriced(route.unpriced)
    if allowed.providers is not None and provider.name not in allowed.providers:
        return _Skip("key", say("the key may not use this provider"))
    if choice is not None:
        reason = _refused_by_choice(route, request, choice)
        if reason is not None:
            return _Skip("caller", reason)
    try:
        ceiling(route.prices, route_bound(route, request, 1), request.attributes)
    except Unpriced as error:
        return _unpriced(error.unit)
    found = state(route)
    if not found.available:
        return _Skip(
            found.kind or "cooling", found.reason or say("not available"), found.retry_after_s
        )
    return found


def _unpriced(unit: str) -> _Skip:
    return _Skip(
        "unpriced",
        say('no price for {unit}: add a row {{ unit = "{unit}", usd = "…" }}', unit=unit),
    )


def _refused_by_choice(route: Route, request: Request, choice: ProviderChoice) -> str | None:
    provider = route.provider
    if choice.only and provider.name not in choice.only:
        return say("not in provider.only")
    if provider.name in choice.ignore:
        return say("in provider.ignore")
    if choice.order and not choice.allow_fallbacks and provider.name not in choice.order:
        return say("not in provider.order")
    if choice.data_collection == "deny" and provider.data.trains is not False:
        return say("not known to keep prompts out of training")
    if choice.zdr and provider.data.retention_days != 0:
        return say("not known to keep no data")
    if choice.max_price is not None:
        return _above_max_price(route, request, choice.max_price)
    return None


def _above_max_price(route: Route, request: Request, limit: MaxPrice) -> str | None:
    tokens = request.bound.input_tokens
    for unit, value in (
        ("input_token", limit.prompt),
        ("output_token", limit.completion),
        ("request", limit.request),
        ("image", limit.image),
        ("audio_second", limit.audio),
    ):
        price = route.prices.dearest(unit, request.attributes, tokens)
        if value is None or price is None:
            continue
        # a row's price is per 10**6 counts: per million tokens as it stands, else per one unit
        nano = price if UNITS[unit].per != 1 else price * UNITS[unit].counts_per_unit // 1_000_000
        if nano > max_price_nano(value):
            return say(
                "{unit} costs {usd} USD, above provider.max_price",
                unit=unit,
                usd=usd_from_nano(nano),
            )
    return None


OUTPUT_TOKENS_DEFAULT_MAX = 8_192  # for a model whose own maximum is unknown; then sent upstream


def output_tokens_max(route: Route, request: Request) -> int:
    """Per choice: what was set, else what the model can do at most."""
    return (
        request.output_limit
        or request.max_output_tokens
        or route.model.max_output_tokens
        or OUTPUT_TOKENS_DEFAULT_MAX
    )


def route_bound(route: Route, request: Request, output_tokens: int) -> Bound:
    """The request's bound at this route: input capped by the context window, output per choice.

    Operations that are billed by one of several units (``any_units``: images, speech, rerank …)
    are bounded by the request alone; ``pricing.ceiling`` takes what the route has a price for.
    """
    bound = request.bound
    if bound.any_units:
        return bound
    context = route.model.context_tokens
    tokens = bound.input_tokens
    # The window is per input: a batch of embeddings may be longer in all.
    if context and tokens > context and request.operation != "embeddings":
        tokens = context
    return Bound(
        tokens,
        0 if request.operation == "embeddings" else output_tokens * request.n,
        bound.audio_input,
        bound.audio_output,
        bound.image_input,
        route.prices.long_cache and (b'"12h"' in request.body or b'"1h"' in request.body),
        bound.units,
    )


def _order(
    usable: list[tuple[Route, RouteState]],
    request: Request,
    model: Model,
    policy: str,
    draw: int,
) -> list[tuple[Route, RouteState]]:
    """Cheapest, fastest, listed or preferred first; ties by priority, then by weighted draw."""
    shuffled = _weighted(usable, draw)
    if policy == "order" and request.choice is not None:
        listed = {name: index for index, name in enumerate(request.choice.order)}
        return sorted(shuffled, key=lambda pair: listed.get(pair[0].provider.name, len(listed)))
    if policy == "price":
        return sorted(
            shuffled,
            key=lambda pair: ceiling(
                pair[0].prices, route_bound(pair[0], request, 256), request.attributes
            ),
        )
    if policy == "latency":  # unmeasured routes first: they are tried once and then known
        return sorted(shuffled, key=lambda pair: pair[1].latency_ms or 0)
    if policy == "throughput":
        return sorted(
            shuffled,
            key=lambda pair: -pair[1].tokens_per_s if pair[1].tokens_per_s is not None else -1e9,
        )
    if policy == "weighted" or model.default_provider is None:
        return shuffled
    return sorted(shuffled, key=lambda pair: pair[0].provider.name != model.default_provider)


def _weighted(usable: list[tuple[Route, RouteState]], draw: int) -> list[tuple[Route, RouteState]]:
    """By priority; within one priority drawn without replacement, in proportion to weight."""
    result: list[tuple[Route, RouteState]] = []
    for priority in sorted({route.priority for route, _ in usable}):
        group = [pair for pair in usable if pair[0].priority == priority]
        while len(group) > 1:
            total = sum(route.weight for route, _ in group)
            if total <= 0:
                break
            draw, at = divmod(draw, total)
            for index, (route, _) in enumerate(group):
                at -= route.weight
                if at < 0:
                    result.append(group.pop(index))
                    break
        result += group
    return result


def _forbidden(message: str) -> NoReturn:
    raise ApiError("AUTH_002", message)


def _no_route(request: Request, catalog: Catalog, skips: list[_Skip]) -> NoReturn:
    """Nothing is left: say whose doing it is, and what to do."""
    choice = request.choice
    if choice is not None and _is_pin(choice):
        name = choice.only[0]
        if not any(
            route.provider.name == name
            for model in (request.model, *request.models)
            for route in catalog.routes.get(catalog.aliases.get(model, model), ())
        ):
            raise ApiError(
                "PROVIDER_001",
                say(
                    "The provider {name!r} does not offer the model {model!r}.",
                    name=name,
                    model=request.model,
                ),
                status=404,
                reason="model_not_at_provider",
                fault="caller",
                retryable=False,
                param="provider",
            )
    waits = [skip for skip in skips if skip.kind in ("cooling", "limit")]
    if waits:
        waits_s = [skip.retry_after_s for skip in waits if skip.retry_after_s is not None]
        raise ApiError(
            "PROVIDER_002",
            say("Every route of {model!r} is cooling down or at its limit.", model=request.model),
            retry_after_s=min(waits_s, default=1.0),
        )
    reasons: dict[str, str] = {}
    for skip in skips:
        known = reasons.get(skip.kind)
        if known is None:
            reasons[skip.kind] = skip.reason
        elif skip.reason not in known:
            reasons[skip.kind] = say("{one}, or {other}", one=known, other=skip.reason)
    if "missing" in reasons or "unpriced" in reasons:
        why = reasons.get("missing") or reasons["unpriced"]
        raise ApiError(
            "MODEL_002",
            say("The model {model!r} has no usable route: {why}.", model=request.model, why=why),
            param="model",
        )
    if "key" in reasons:
        _forbidden(say("{model!r}: {why}.", model=request.model, why=reasons["key"]))
    if "caller" in reasons:
        raise ApiError(
            "REQUEST_001",
            say(
                "No route of {model!r} is left: {reasons}.",
                model=request.model,
                reasons=reasons["caller"],
            ),
            param="provider",
            reason="constraints_exclude_all",
        )
    raise ApiError(
        "MODEL_002", say("The model {model!r} has no route.", model=request.model), param="model"
    )
