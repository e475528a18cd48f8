"""Management endpoints for operators: batches of redeem codes, credit and debit."""

from __future__ import annotations

import os
from typing import Annotated, Literal

import msgspec

from tokenmarket.accounts.admin import NotThere
from tokenmarket.core import ids
from tokenmarket.core.money import usd_from_nano
from tokenmarket.payments import credit
from tokenmarket.payments.redeem import BatchWishes
from tokenmarket.store import redeem
from tokenmarket.store.redeem import BatchRow
from tokenmarket.web.manage.billing import Amount, Text, nano_of
from tokenmarket.web.manage.endpoint import OPERATOR, Call, Endpoint, Listing, page

_REDEEMED_MAX = 200
_names = msgspec.json.Decoder(list[str])


class RedeemedCode(msgspec.Struct, kw_only=True):
    """A code that was redeemed: its last characters, by which organization and when."""

    hint: str
    organization_id: str
    redeemed_at: int


class Batch(msgspec.Struct, kw_only=True):
    """A batch of redeem codes. ``codes`` are there once, in the answer that made them;
    ``redeemed`` (the newest 200) only where one batch is shown."""

    object: Literal["code_batch"] = "code_batch"
    id: str
    name: str
    amount: str
    count: int
    expires_at: int
    credit_days: int
    models: list[str]
    one_per_organization: bool
    disabled_at: int | None
    created_at: int
    codes: list[str] | None = None
    redeemed: list[RedeemedCode] | None = None


class BatchBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A batch of redeem codes to be made; ``credit_days`` 0: the credit never ends."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    amount: Amount
    count: Annotated[int, msgspec.Meta(ge=1, le=10_000)]
    expires_at: Annotated[int, msgspec.Meta(ge=0, le=9_000_000_000)]
    credit_days: Annotated[int, msgspec.Meta(ge=0, le=3_650)] = 0
    models: Annotated[list[Text], msgspec.Meta(max_length=200)] = []
    one_per_organization: bool = False


class Adjustment(msgspec.Struct, kw_only=True):
    """A credit or debit by the operator. ``created`` false: the same id was booked before."""

    object: Literal["adjustment"] = "adjustment"
    id: str
    organization_id: str
    amount: str
    created: bool


class AdjustmentBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A credit, or a debit if negative, in USD. The same ``id`` is booked once."""

    amount: Amount
    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
    id: Annotated[str, msgspec.Meta(max_length=64)] | None = None


async def batches(call: Call) -> Listing[Batch]:
    async with call.parts.database.read() as conn:
        found = await redeem.batches(conn, before_id=call.cursor, limit=call.limit + 1)
    return page([_batch(row) for row, _ in found], call.limit, lambda item: item.id)


async def make_batch(call: Call) -> Batch:
    body: BatchBody = call.body
    wishes = BatchWishes(
        body.name,
        nano_of(body.amount, "amount"),
        body.count,
        body.expires_at * 1_000_000,
        body.credit_days,
        tuple(body.models),
        body.one_per_organization,
    )
    made = await call.parts.payments.codes.create(wishes, actor=call.actor)
    return msgspec.structs.replace(_batch(made.row), codes=made.codes)


async def show_batch(call: Call) -> Batch:
    async with call.parts.database.read() as conn:
        row = await redeem.batch_by_id(conn, call.params["id"])
        if row is None:
            raise NotThere("There is no such batch.")
        found = await redeem.redeemed_of_batch(conn, row.id, _REDEEMED_MAX)
    redeemed = [
        RedeemedCode(
            hint=one.hint,
            organization_id=one.org_id,
            redeemed_at=one.redeemed_us // 1_000_000,
        )
        for one in found
    ]
    return msgspec.structs.replace(_batch(row), redeemed=redeemed)


async def disable_batch(call: Call) -> Batch:
    await call.parts.payments.codes.disable(call.params["id"], actor=call.actor)
    return await show_batch(call)


def _batch(row: BatchRow) -> Batch:
    return Batch(
        id=row.id,
        name=row.name,
        amount=usd_from_nano(row.amount_nano),
        count=row.codes,
        expires_at=row.expires_us // 1_000_000,
        credit_days=row.credit_days,
        models=_names.decode(row.models) if row.models else [],
        one_per_organization=bool(row.one_per_org),
        disabled_at=row.disabled_us // 1_000_000 if row.disabled_us else None,
        created_at=row.created_us // 1_000_000,
    )


async def adjust(call: Call) -> Adjustment:
    body: AdjustmentBody = call.body
    name = body.id or ids.new_id("adj", call.now_us, os.urandom(ids.RANDOM_BYTES))
    nano = nano_of(body.amount, "amount")
    created = await credit.adjust(
        call.parts.database,
        org_id=call.params["id"],
        adjustment_id=name,
        amount_nano=nano,
        reason=body.reason,
        actor=call.actor,
        now_us=call.now_us,
    )
    return Adjustment(
        id=name,
        organization_id=call.params["id"],
        amount=usd_from_nano(nano),
        created=created,
    )


_TAG = "Billing"
ENDPOINTS = [
    Endpoint(
        "GET",
        "/admin/code-batches",
        OPERATOR,
        batches,
        None,
        Listing[Batch],
        "Batches of redeem codes, newest first.",
        _TAG,
    ),
    Endpoint(
        "POST",
        "/admin/code-batches",
        OPERATOR,
        make_batch,
        BatchBody,
        Batch,
        "Make a batch of redeem codes; the codes are in this answer only.",
        _TAG,
    ),
    Endpoint(
        "GET", "/admin/code-batches/{id}", OPERATOR, show_batch, None, Batch, "One batch.", _TAG
    ),
    Endpoint(
        "DELETE",
        "/admin/code-batches/{id}",
        OPERATOR,
        disable_batch,
        None,
        Batch,
        "Disable a batch; its codes cannot be redeemed any more.",
        _TAG,
    ),
    Endpoint(
        "POST",
        "/admin/organizations/{id}/adjustments",
        OPERATOR,
        adjust,
        AdjustmentBody,
        Adjustment,
        "Credit or debit an organization.",
        _TAG,
    ),
]
