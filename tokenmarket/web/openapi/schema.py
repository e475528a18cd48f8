"""msgspec types -> JSON Schema (the dialect of OpenAPI 3.1), with descriptions of their fields.

msgspec's own generator fails on fields whose default is ``Raw`` (what we pass on unread), so types
are walked here. A ``Raw`` field is "anything" unless ``texts.RAW`` says what we read in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import msgspec
from msgspec import inspect

Schema = dict[str, Any]
REF = "#/components/schemas/"

_BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
_LENGTHS = {"min_length": "minLength", "max_length": "maxLength", "pattern": "pattern"}
_ITEMS = {"min_length": "minItems", "max_length": "maxItems"}
_PLAIN: dict[type[inspect.Type], Schema] = {
    inspect.AnyType: {},
    inspect.RawType: {},
    inspect.BoolType: {"type": "boolean"},
    inspect.NoneType: {"type": "null"},
}


class Schemas:
    """Schemas of types; structs become ``components`` by their name.

    ``describe`` (struct, field) -> text or None; ``raw`` (struct, field) -> schema or type or None,
    for fields that are passed on unread.
    """

    def __init__(
        self,
        describe: Callable[[str, str], str | None],
        raw: Callable[[str, str], Any] = lambda struct, field: None,
    ) -> None:
        self.components: dict[str, Schema] = {}
        self.undescribed: list[str] = []
        self._describe = describe
        self._raw = raw

    def of(self, kind: Any) -> Schema:
        """The schema of a type, or the reference to its component."""
        return self._schema(inspect.type_info(kind))

    def _schema(self, info: inspect.Type) -> Schema:
        plain = _PLAIN.get(type(info))
        if plain is not None:
            return dict(plain)
        if isinstance(info, inspect.Metadata):
            return self._schema(info.type)
        if isinstance(info, inspect.StructType):
            return self._struct(info)
        if isinstance(info, inspect.UnionType):
            return self._union(info)
        if isinstance(info, inspect.LiteralType):
            return {"enum": list(info.values)}
        if isinstance(info, inspect.IntType | inspect.FloatType):
            name = "integer" if isinstance(info, inspect.IntType) else "number"
            return {"type": name, **_some(info, _BOUNDS)}
        if isinstance(info, inspect.StrType):
            return {"type": "string", **_some(info, _LENGTHS)}
        if isinstance(info, inspect.ListType | inspect.VarTupleType | inspect.SetType):
            items = self._schema(info.item_type)
            return {"type": "array", "items": items, **_some(info, _ITEMS)}
        if isinstance(info, inspect.DictType):
            members: Schema = {"type": "object"}
            names = self._schema(info.key_type)
            values = self._schema(info.value_type)
            if "enum" in names:
                members["propertyNames"] = names
            return {**members, "additionalProperties": values or True}
        if isinstance(info, inspect.CustomType) and info.cls is object:
            return {}
        raise TypeError(f"no schema for {info!r}")

    def _union(self, info: inspect.UnionType) -> Schema:
        options = [self._schema(one) for one in info.types]
        nullable = {"type": "null"} in options
        options = [one for one in options if one != {"type": "null"}]
        if nullable and len(options) == 1 and isinstance(options[0].get("type"), str):
            return {**options[0], "type": [options[0]["type"], "null"]}
        if nullable and len(options) == 1 and "enum" in options[0]:
            return {"enum": [*options[0]["enum"], None]}
        return {"anyOf": [*options, *([{"type": "null"}] if nullable else [])]}

    def _struct(self, info: inspect.StructType) -> Schema:
        name = name_of(info.cls)
        if name not in self.components:
            self.components[name] = {}  # a type may hold itself
            self.components[name] = self._component(info, name)
        return {"$ref": REF + name}

    def _component(self, info: inspect.StructType, name: str) -> Schema:
        properties: Schema = {}
        required: list[str] = []
        for field in info.fields:
            shown = self._field(field, name)
            properties[field.encode_name] = shown
            if field.required:
                required.append(field.encode_name)
        schema: Schema = {"type": "object", "properties": properties}
        if required:
            schema["required"] = required
        if info.forbid_unknown_fields:
            schema["additionalProperties"] = False
        text = about(info.cls)
        if text:
            schema["description"] = text
        return schema

    def _field(self, field: inspect.Field, struct: str) -> Schema:
        schema = self._schema(field.type)
        if not schema:
            known = self._raw(struct, field.encode_name)
            if known is not None:
                schema = cast("Schema", known) if isinstance(known, dict) else self.of(known)
        text = self._describe(struct, field.encode_name)
        if text is None:
            self.undescribed.append(f"{struct}.{field.encode_name}")
        else:
            schema = {**schema, "description": text}
        default = field.default
        if isinstance(default, str | int | float | bool) and "$ref" not in schema:
            schema["default"] = default
        return schema


def about(cls: type[msgspec.Struct]) -> str:
    """What a struct made for a description says; the docstrings of others speak to developers."""
    cls = getattr(cls, "__origin__", cls)
    text = cls.__doc__ or ""
    ours = cls.__module__.startswith(("tokenmarket.web.openapi.", "tokenmarket.web.manage."))
    if not ours or text.startswith(f"{cls.__name__}("):
        return ""
    return " ".join(text.split("\n\n")[0].split()).replace("``", "`")


def name_of(cls: Any) -> str:
    """``Listing[Key]`` is ``KeyList``."""
    origin = getattr(cls, "__origin__", None)
    if origin is None:
        return cls.__name__
    return "".join(name_of(one) for one in cls.__args__) + "List"


def _some(info: inspect.Type, names: Mapping[str, str]) -> Schema:
    """The constraints that are set."""
    found = {theirs: getattr(info, ours) for ours, theirs in names.items()}
    return {name: value for name, value in found.items() if value is not None}


def struct_fields(kind: type[msgspec.Struct]) -> tuple[str, ...]:
    """As they are written on the wire."""
    return tuple(kind.__struct_encode_fields__)
