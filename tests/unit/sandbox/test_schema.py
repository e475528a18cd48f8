"""Generated values conform to their schema; hostile schemas are refused, quickly."""

import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmarket.sandbox.bodies import Refused
from tokenmarket.sandbox.schema import conforming

_TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}


def conforms(value: Any, schema: Any, root: Any) -> bool:
    """A small validator, written from the standard and not from the generator."""
    if isinstance(schema, bool):
        return schema
    if "$ref" in schema:
        here = root
        for step in schema["$ref"].split("/")[1:]:
            here = here[step]
        if not conforms(value, here, root):
            return False
    if "const" in schema and value != schema["const"]:
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    if not all(conforms(value, part, root) for part in schema.get("allOf", ())):
        return False
    if "anyOf" in schema and not any(conforms(value, part, root) for part in schema["anyOf"]):
        return False
    declared = schema.get("type")
    if declared is not None:
        names = declared if isinstance(declared, list) else [declared]
        if not any(_is(value, name) for name in names):
            return False
    return _in_bounds(value, schema) and _parts_conform(value, schema, root)


def _is(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    return isinstance(value, _TYPES[name])


def _in_bounds(value: Any, schema: Any) -> bool:
    if isinstance(value, str):
        return schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 10**9)
    if isinstance(value, list):
        unique = len({msgspec.json.encode(item) for item in value}) == len(value)
        return schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", 10**9) and (
            unique or not schema.get("uniqueItems")
        )
    if isinstance(value, bool) or not isinstance(value, int | float):
        return True
    step = schema.get("multipleOf")
    return (
        schema.get("minimum", -1e99) <= value <= schema.get("maximum", 1e99)
        and schema.get("exclusiveMinimum", -1e99) < value < schema.get("exclusiveMaximum", 1e99)
        and (step is None or abs(value / step - round(value / step)) < 1e-9)
    )


def _parts_conform(value: Any, schema: Any, root: Any) -> bool:
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        extra = schema.get("additionalProperties", True)
        return set(schema.get("required", ())) <= value.keys() and all(
            conforms(part, properties.get(name, extra), root) for name, part in value.items()
        )
    if isinstance(value, list):
        heads = schema.get("prefixItems", [])
        return all(
            conforms(item, heads[index] if index < len(heads) else schema.get("items", True), root)
            for index, item in enumerate(value)
        )
    return True


def _bounded(low: int, width: int, extra: dict[str, Any]) -> dict[str, Any]:
    return {"minimum": low, "maximum": low + width, **extra}


_names = st.text("abcdefg_", min_size=1, max_size=6)
_scalars = st.one_of(
    st.builds(
        lambda low, width: {"type": "string", "minLength": low, "maxLength": low + width},
        st.integers(0, 40),
        st.integers(0, 9),
    ),
    st.builds(
        lambda low, width: _bounded(low, width, {"type": "integer"}),
        st.integers(-99, 99),
        st.integers(0, 9),
    ),
    st.builds(
        lambda low, width: _bounded(low, width, {"type": "number"}),
        st.integers(-99, 99),
        st.integers(0, 9),
    ),
    st.builds(
        lambda low, step: {"type": "integer", "exclusiveMinimum": low, "multipleOf": step},
        st.integers(-99, 99),
        st.integers(1, 7),
    ),
    st.builds(
        lambda low: {"type": "number", "exclusiveMinimum": low, "exclusiveMaximum": low + 1},
        st.integers(-99, 99),
    ),
    st.builds(lambda high: {"type": "number", "maximum": high}, st.integers(-99, 99)),
    st.builds(lambda values: {"enum": values}, st.lists(st.integers(), min_size=1, max_size=4)),
    st.builds(lambda value: {"const": value}, st.none() | st.booleans() | st.text(max_size=5)),
    st.sampled_from(
        [
            {"type": "boolean"},
            {"type": "null"},
            {"type": ["string", "null"]},
            {"type": "string", "format": "date-time"},
            {"$ref": "#/$defs/tree"},
        ]
    ),
)


def _objects(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    def build(properties: dict[str, Any], closed: bool, all_required: bool) -> dict[str, Any]:
        made: dict[str, Any] = {"type": "object", "properties": properties}
        if all_required:
            made["required"] = list(properties)
        if closed:
            made["additionalProperties"] = False
        return made

    return st.builds(
        build, st.dictionaries(_names, children, max_size=4), st.booleans(), st.booleans()
    )


def _arrays(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.builds(
        lambda items, least, width: {
            "type": "array",
            "items": items,
            "minItems": least,
            "maxItems": least + width,
        },
        children,
        st.integers(0, 3),
        st.integers(0, 3),
    )


schemas = st.recursive(
    _scalars,
    lambda children: st.one_of(
        _objects(children),
        _arrays(children),
        st.builds(lambda parts: {"anyOf": parts}, st.lists(children, min_size=1, max_size=3)),
    ),
    max_leaves=12,
)
_TREE = {
    "type": "object",
    "properties": {
        "value": {"type": "integer"},
        "left": {"anyOf": [{"$ref": "#/$defs/tree"}, {"type": "null"}]},
        "more": {"type": "array", "items": {"$ref": "#/$defs/tree"}},
    },
    "required": ["value", "left", "more"],
    "additionalProperties": False,
}


@given(schemas, st.integers(0, 10**6))
def test_values_conform(schema: dict[str, Any], seed: int) -> None:
    root = {"allOf": [schema], "$defs": {"tree": _TREE}}
    value = conforming(root, seed)
    assert conforms(value, root, root)
    assert conforming(root, seed) == value
    msgspec.json.encode(value)


def test_unique_items_differ_and_all_of_unites() -> None:
    unique = {"type": "array", "items": {"type": "integer"}, "uniqueItems": True, "minItems": 5}
    made = conforming(unique, 3)
    assert conforms(made, unique, unique)
    united = {
        "allOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b"}],
        "$defs": {
            "a": {"type": "object", "properties": {"x": {"const": 1}}, "required": ["x"]},
            "b": {"type": "object", "properties": {"y": {"const": 2}}, "required": ["y"]},
        },
    }
    assert conforming(united, 0) == {"x": 1, "y": 2}


def _chain(levels: int) -> dict[str, Any]:
    definitions: dict[str, Any] = {"d0": {"const": "x" * 1000}}
    for level in range(1, levels):
        both = {"$ref": f"#/$defs/d{level - 1}"}
        definitions[f"d{level}"] = {"type": "array", "prefixItems": [both] * 8}
    return {"$ref": f"#/$defs/d{levels - 1}", "$defs": definitions}


_LOOP = {"$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}]}}}


@pytest.mark.parametrize(
    "schema",
    [
        {"enum": []},
        {"anyOf": []},
        {"$ref": "#/$defs/none"},
        {"$ref": "https://elsewhere.example/schema"},
        {"$ref": 5},
        {"$ref": "#"},
        {"$ref": "#/$defs/a", **_LOOP},
        {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
        {"type": "array", "items": {"$ref": "#"}, "minItems": 1},
        {"type": "array", "minItems": 10**9},
        {"type": "object", "minProperties": 10**9},
        {"type": "string", "minLength": 10**9},
        {"type": "integer", "minimum": 5, "maximum": 4},
        {"type": "object", "properties": {"a": 5}, "required": ["a"]},
        {"type": "object", "required": ["a"], "additionalProperties": False},
        _chain(12),
    ],
    ids=lambda schema: str(schema)[:40],
)
def test_what_cannot_be_satisfied_is_refused_quickly(schema: Any) -> None:
    before_s = time.process_time()
    with pytest.raises(Refused):
        conforming(schema, 1)
    assert time.process_time() - before_s < 1
