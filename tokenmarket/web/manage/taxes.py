"""Management endpoints of the tax on an organization's invoices, which the operator sets."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from tokenmarket.backoffice import orgs
from tokenmarket.payments import tax
from tokenmarket.store.tax_profiles import TaxProfile
from tokenmarket.web.manage.endpoint import OPERATOR, Call, Endpoint


class TaxProfileBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The tax on the next invoices of an organization: ``rate`` in percent."""

    name: Annotated[str, msgspec.Meta(max_length=tax.NAME_CHARS_MAX)]
    rate: Annotated[str, msgspec.Meta(max_length=8)]
    included: bool = True


class TaxProfileAnswer(msgspec.Struct, kw_only=True):
    """The tax on the next invoices of an organization; nulls: they say nothing about tax."""

    object: Literal["tax_profile"] = "tax_profile"
    organization_id: str
    name: str | None
    rate: str | None
    included: bool | None


async def tax_profile(call: Call) -> TaxProfileAnswer:
    org_id = call.params["organization"]
    async with call.parts.database.read() as conn:
        await orgs.find(conn, org_id)
    found = await tax.profile_of(call.parts.database, org_id)
    return TaxProfileAnswer(
        organization_id=org_id,
        name=None if found is None else found.name,
        rate=None if found is None else tax.percent(found.rate_bp),
        included=None if found is None else found.included,
    )


async def put_tax_profile(call: Call) -> TaxProfileAnswer:
    body: TaxProfileBody = call.body
    profile = TaxProfile(body.name, tax.rate_bp_from(body.rate), body.included)
    return await _set_tax(call, profile)


async def delete_tax_profile(call: Call) -> TaxProfileAnswer:
    return await _set_tax(call, None)


async def _set_tax(call: Call, profile: TaxProfile | None) -> TaxProfileAnswer:
    await tax.set_profile(
        call.parts.database,
        call.params["organization"],
        profile,
        actor=call.actor,
        now_us=call.now_us,
    )
    return await tax_profile(call)


_TAG = "Invoices"
ENDPOINTS = [
    Endpoint(
        "GET",
        "/admin/organizations/{organization}/tax",
        OPERATOR,
        tax_profile,
        None,
        TaxProfileAnswer,
        "The tax on an organization's invoices.",
        _TAG,
    ),
    Endpoint(
        "PUT",
        "/admin/organizations/{organization}/tax",
        OPERATOR,
        put_tax_profile,
        TaxProfileBody,
        TaxProfileAnswer,
        "Sets the tax on an organization's next invoices.",
        _TAG,
    ),
    Endpoint(
        "DELETE",
        "/admin/organizations/{organization}/tax",
        OPERATOR,
        delete_tax_profile,
        None,
        TaxProfileAnswer,
        "Leaves tax out of an organization's next invoices.",
        _TAG,
    ),
]
