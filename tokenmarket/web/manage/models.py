"""Management endpoints of the operator about models: names, how routes are chosen, their end."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from tokenmarket.backoffice import catalog_edits
from tokenmarket.backoffice.catalog_edits import ModelWishes
from tokenmarket.core.catalog import OPERATIONS, Model
from tokenmarket.core.errors import ApiError
from tokenmarket.core.wording import say
from tokenmarket.store.database import Connection
from tokenmarket.web.manage.endpoint import OPERATOR, Call, Deleted, Endpoint, Listing, page

_TAG = "supply"
_Name = Annotated[str, msgspec.Meta(max_length=300)]


class ModelObject(msgspec.Struct, kw_only=True):
    """A model as the operator sees it. ``changed``: it is not as shipped. ``unavailable``: why no
    route of it can be used now, or null."""

    object: Literal["model"] = "model"
    id: str
    operation: str
    vendor: str
    name_en: str
    name_zh: str
    policy: str
    default_provider: str | None
    deprecated_at: str | None
    enabled: bool
    changed: bool
    providers: list[str]
    unavailable: str | None


class ModelChanges(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What shall be different of a model; what is left out stays. ``deprecated_at`` is a day."""

    name_en: _Name | msgspec.UnsetType = msgspec.UNSET
    name_zh: _Name | msgspec.UnsetType = msgspec.UNSET
    policy: str | msgspec.UnsetType = msgspec.UNSET
    default_provider: str | msgspec.UnsetType | None = msgspec.UNSET
    deprecated_at: str | msgspec.UnsetType | None = msgspec.UNSET
    enabled: bool | msgspec.UnsetType = msgspec.UNSET


async def list_models(call: Call) -> Listing[ModelObject]:
    text, operation = call.query.get("search", "").lower(), call.query.get("operation", "")
    if operation and operation not in OPERATIONS:
        names = ", ".join(OPERATIONS)
        raise ApiError(
            "REQUEST_001", say("operation is one of {names}.", names=names), param="operation"
        )
    async with call.parts.database.read() as conn:
        document = await catalog_edits.in_force(conn, call.parts.catalog.shipped)
        own = await catalog_edits.own_rows(conn)
    found = [
        row.model
        for row in sorted(document.models, key=lambda row: row.model.id)
        if row.model.id > call.cursor
        and text in row.model.id.lower()
        and operation in ("", row.model.operation)
    ]
    shown = page(found, call.limit, lambda model: model.id)
    models = [_model(call, model, document, own) for model in shown.data]
    return Listing(data=models, next_cursor=shown.next_cursor)


async def show_model(call: Call) -> ModelObject:
    async with call.parts.database.read() as conn:
        return await _state(conn, call)


async def change_model(call: Call) -> ModelObject:
    name, shipped = call.params["model"], call.parts.catalog.shipped
    changes = {
        field: value
        for field, value in msgspec.structs.asdict(call.body).items()
        if value is not msgspec.UNSET
    }
    async with call.parts.database.begin() as conn:
        before = catalog_edits.find_model(await catalog_edits.in_force(conn, shipped), name)
        kept = {field: getattr(before, field) for field in ModelWishes.__struct_fields__}
        wishes = ModelWishes(**(kept | changes))
        await catalog_edits.change_model(
            conn, shipped, name, wishes, now_us=call.now_us, actor=call.actor
        )
        return await _state(conn, call)


async def reset_model(call: Call) -> Deleted:
    name = call.params["model"]
    async with call.parts.database.begin() as conn:
        shipped, now_us = call.parts.catalog.shipped, call.now_us
        await catalog_edits.reset(conn, shipped, "model", (name,), now_us=now_us, actor=call.actor)
    return Deleted(id=name)


async def _state(conn: Connection, call: Call) -> ModelObject:
    """Raises NotThere."""
    document = await catalog_edits.in_force(conn, call.parts.catalog.shipped)
    own = await catalog_edits.own_rows(conn)
    model = catalog_edits.find_model(document, call.params["model"])
    return _model(call, model, document, own)


def _model(
    call: Call, model: Model, document: catalog_edits.CatalogDocument, own: set[tuple[str, ...]]
) -> ModelObject:
    return ModelObject(
        id=model.id,
        operation=model.operation,
        vendor=model.vendor,
        name_en=model.name_en,
        name_zh=model.name_zh,
        policy=model.policy,
        default_provider=model.default_provider,
        deprecated_at=model.deprecated_at,
        enabled=model.enabled,
        changed=("model", model.id) in own,
        providers=[row.provider for row in document.routes if row.model == model.id],
        unavailable=call.parts.catalog.unavailable_reason(model),
    )


_ONE = "/admin/models/{model}"
ENDPOINTS = [
    Endpoint(
        "GET",
        "/admin/models",
        OPERATOR,
        list_models,
        None,
        Listing[ModelObject],
        "All models, by id.",
        _TAG,
        query=(("search", "Part of the model's id."), ("operation", "Only of this operation.")),
    ),
    Endpoint("GET", _ONE, OPERATOR, show_model, None, ModelObject, "One model.", _TAG),
    Endpoint(
        "PATCH",
        _ONE,
        OPERATOR,
        change_model,
        ModelChanges,
        ModelObject,
        "Changes a model's names, the choice of its routes or its end, or switches it off.",
        _TAG,
    ),
    Endpoint(
        "DELETE",
        _ONE,
        OPERATOR,
        reset_model,
        None,
        Deleted,
        "Takes back what was changed: the model is as shipped, or gone if it was added.",
        _TAG,
    ),
]
