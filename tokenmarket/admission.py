"""Room 4: limits first, then money, both or neither.

The hold is the proven worst case of the dearest route that may be tried. Without ``max_tokens`` the
output is bounded by the model, or by what the balance affords: then the number is sent upstream
and shown to the caller (``design/billing.md`` section 4.1). Nothing refused here consumes anything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from tokenmarket.accounts import Caller
from tokenmarket.billing.clock import Clock
from tokenmarket.billing.wallet import (
    AdmissionStopped,
    Funds,
    InsufficientFunds,
    JournalFailed,
    SpendLimitReached,
    Wallet,
)
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import ApiError
from tokenmarket.core.money import usd_from_nano
from tokenmarket.core.pricing import ceiling
from tokenmarket.core.requests import Request
from tokenmarket.core.routing import (
    OUTPUT_TOKENS_DEFAULT_MAX,
    Plan,
    output_tokens_max,
    route_bound,
)
from tokenmarket.core.usage import Bound
from tokenmarket.core.wording import say, word
from tokenmarket.exchange import Exchange
from tokenmarket.limits import CallerLimits, Limits
from tokenmarket.store.money_moves import Unavailable
from tokenmarket.store.tasks import NewTask, TaskRow

REFILLS_MAX = 4
OUTPUT_TOKENS_FLOOR = 256  # less than this is no useful answer: refuse instead of clamping
OUTPUT_TOKENS_ESTIMATE = 1_024  # what tokens/min expects of an answer before it is known
BYTES_PER_TOKEN_ESTIMATE = 4


class Admission:
    """Takes the caller's limits and money for one request, or raises and takes nothing."""

    def __init__(self, limits: Limits, wallet: Wallet, clock: Clock) -> None:
        self._limits = limits
        self._wallet = wallet
        self._clock = clock

    def limits_of(self, caller: Caller) -> CallerLimits:
        """The caller's limiter pair, remembered on the caller."""
        if caller.limiter is None:
            key, org = caller.key_limits, caller.org_limits
            scope = self._limits.scope
            caller.limiter = CallerLimits(
                scope("key", caller.key_id, key.rpm, key.tpm, key.concurrency),
                scope("organization", caller.org_id, org.rpm, org.tpm, org.concurrency),
            )
        return caller.limiter

    async def admit(self, request: Request, plan: Plan, exchange: Exchange, caller: Caller) -> None:
        """Sets ``ticket`` and ``hold`` of the exchange.

        ApiError: QUOTA_001, BILLING_001/002/003, PLATFORM_001.
        """
        funds = caller.funds
        if funds is None:
            funds = caller.funds = await self._wallet.funds(caller.org_id, caller.key_id)
        estimate = tokens_estimate(request)
        first = plan.routes[0]
        ticket = self.limits_of(caller).take(estimate, self._clock.monotonic_us())
        try:
            refills = 0
            while True:
                amount_nano, bound = self._amount(request, plan.routes, funds)
                try:
                    hold = self._wallet.try_hold(
                        funds,
                        exchange.request_id,
                        amount_nano,
                        model=first.model.id,
                        price_version=first.prices.version,
                        provider=first.provider.name,
                    )
                    break
                except InsufficientFunds as short:
                    # Once for the money that waits in SQL. Again if the limits changed meanwhile:
                    # then nothing is known to be short, and it must not be said.
                    if refills == REFILLS_MAX or (refills and not funds.stale):
                        self._refuse(short, request, plan.routes)
                    await self._wallet.refill(funds, amount_nano, first.model.id)
                    refills += 1
        except SpendLimitReached as limit:
            ticket.cancel()
            raise _spend_limit(limit) from None
        except (AdmissionStopped, JournalFailed) as stopped:
            ticket.cancel()
            raise ApiError(
                "PLATFORM_001", say("Not admitting: {stopped}.", stopped=stopped), retry_after_s=1
            ) from None
        except BaseException:
            ticket.cancel()
            raise
        exchange.ticket = ticket
        exchange.hold = exchange.hold_open = hold
        exchange.bound = bound

    async def admit_task(
        self,
        caller: Caller,
        exchange: Exchange,
        new: Callable[[], NewTask],
        amount_nano: int,
        estimate: int,
    ) -> TaskRow:
        """A place for one request and a durable hold with the task row, both or neither; sets
        ``ticket``. Raises as ``admit``, and TaskExists."""
        funds = caller.funds
        if funds is None:
            funds = caller.funds = await self._wallet.funds(caller.org_id, caller.key_id)
        ticket = self.limits_of(caller).take(estimate, self._clock.monotonic_us())
        try:
            row = await self._wallet.tasks.create(funds, new(), amount_nano)
        except InsufficientFunds as short:
            ticket.cancel()
            raise _too_little(short) from None
        except SpendLimitReached as limit:
            ticket.cancel()
            raise _spend_limit(limit) from None
        except (AdmissionStopped, JournalFailed, Unavailable) as stopped:
            ticket.cancel()
            raise ApiError(
                "PLATFORM_001", say("Not admitting: {stopped}.", stopped=stopped), retry_after_s=1
            ) from None
        except BaseException:
            ticket.cancel()
            raise
        exchange.ticket = ticket
        return row

    # --- the amount -------------------------------------------------------------------------------

    def _amount(
        self, request: Request, routes: tuple[Route, ...], funds: Funds
    ) -> tuple[int, Bound]:
        """The hold in nano-USD and the first route's bound; sets ``request.output_limit`` where we
        decide the number."""
        limit = request.output_limit = request.max_output_tokens
        needed, bound = self._dearest(request, routes)
        if limit is not None or not bound.output_tokens:
            return needed, bound
        if any(not route.model.max_output_tokens for route in routes):
            request.output_limit = OUTPUT_TOKENS_DEFAULT_MAX
        affordable = self._wallet.affordable_nano(funds, routes[0].model.id)
        if needed <= affordable:
            return needed, bound
        tokens = affordable_output_tokens(request, routes, affordable)
        if tokens < OUTPUT_TOKENS_FLOOR:
            return needed, bound  # too little: try_hold refuses, and says how much is missing
        request.output_limit = tokens
        return self._dearest(request, routes)

    def _dearest(self, request: Request, routes: tuple[Route, ...]) -> tuple[int, Bound]:
        """The ceiling of the dearest route, and the bound at the first one."""
        first = routes[0]
        bound = route_bound(first, request, output_tokens_max(first, request))
        needed = ceiling(first.prices, bound, request.attributes)
        for route in routes[1:]:
            other = route_bound(route, request, output_tokens_max(route, request))
            needed = max(needed, ceiling(route.prices, other, request.attributes))
        return needed, bound

    # --- refusals ---------------------------------------------------------------------------------

    def _refuse(
        self, short: InsufficientFunds, request: Request, routes: tuple[Route, ...]
    ) -> NoReturn:
        tokens = None
        if not request.bound.any_units:
            tokens = max(affordable_output_tokens(request, routes, short.available_nano), 0)
        raise _too_little(short, tokens)


def tokens_estimate(request: Request) -> int:
    """What tokens/min expects of a request before its answer is known."""
    bound = request.bound
    if bound.any_units:  # images, speech, rerank …: only what they may read is known
        tokens = sum(counts for unit, counts in bound.any_units if unit == "input_token")
        return (bound.input_tokens + tokens) // BYTES_PER_TOKEN_ESTIMATE
    return bound.input_tokens // BYTES_PER_TOKEN_ESTIMATE + estimated_output_tokens(request)


def estimated_output_tokens(request: Request) -> int:
    """What tokens/min expects of the answer."""
    tokens = request.max_output_tokens or OUTPUT_TOKENS_ESTIMATE
    if tokens > OUTPUT_TOKENS_ESTIMATE:
        tokens = OUTPUT_TOKENS_ESTIMATE
    return tokens * request.n


def affordable_output_tokens(
    request: Request, routes: tuple[Route, ...], available_nano: int
) -> int:
    """How many output tokens per choice the money buys at the dearest route, after the input."""
    if request.operation == "embeddings" or request.bound.any_units:
        return 0
    million = 1_000_000
    fewest = million * 1_000
    for route in routes:
        nothing = ceiling(route.prices, route_bound(route, request, 0), request.attributes)
        per_million = (
            ceiling(route.prices, route_bound(route, request, million), request.attributes)
            - nothing
        )
        if per_million > 0:
            fewest = min(fewest, (available_nano - nothing - 1) * million // (per_million + 1))
        elif available_nano < nothing:
            return 0
    return fewest


def _too_little(short: InsufficientFunds, affordable_tokens: int | None = None) -> ApiError:
    details: dict[str, object] = {
        "available": usd_from_nano(short.available_nano),
        "held": usd_from_nano(short.held_nano),
        "needed": usd_from_nano(short.needed_nano),
    }
    advice = ""
    if affordable_tokens is not None:
        details["affordable_max_tokens"] = affordable_tokens
        advice = say(
            "; max_tokens of {affordable_tokens} is affordable", affordable_tokens=affordable_tokens
        )
    amounts = say(
        "{needed_nano} USD needed, {available_nano} available",
        needed_nano=usd_from_nano(short.needed_nano),
        available_nano=usd_from_nano(short.available_nano),
    )
    if short.in_flight:
        return ApiError(
            "BILLING_002",
            say(
                "The balance is held by running requests: {amounts}, {held_nano} held.",
                amounts=amounts,
                held_nano=usd_from_nano(short.held_nano),
            ),
            reason="in_flight_holds",
            retry_after_s=1,
            details=details,
        )
    return ApiError(
        "BILLING_001",
        say("The balance is too low: {amounts}{advice}.", amounts=amounts, advice=advice),
        details=details,
    )


def _spend_limit(limit: SpendLimitReached) -> ApiError:
    return ApiError(
        "BILLING_003",
        say(
            "The spend limit of this {owner} ({period}) is reached: {used_nano} of "
            "{limit_nano} USD used or held.",
            owner=word(limit.owner),
            period=word(limit.period),
            used_nano=usd_from_nano(limit.used_nano),
            limit_nano=usd_from_nano(limit.limit_nano),
        ),
        reason=f"{limit.period}_limit",
        details={
            "scope": limit.owner,
            "period": limit.period,
            "limit": usd_from_nano(limit.limit_nano),
            "used": usd_from_nano(limit.used_nano),
            "resets_at": limit.resets_at_s,
        },
    )
