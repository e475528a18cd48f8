"""A value that conforms to a JSON schema: arguments of tool calls, structured output.

Understood: type (one or several), enum, const, properties, required, items, prefixItems, the
bounds of numbers, strings and arrays, multipleOf, uniqueItems, the usual formats, anyOf, oneOf,
allOf, and $ref into the same document. Not understood, so possibly violated: pattern, not, if,
dependencies. Hostile schemas are bounded by depth, number of values and string length; one that
nothing can satisfy within the bounds is Refused.
"""

from __future__ import annotations

import math
from typing import cast

import msgspec

from tokenmarket.sandbox.bodies import Refused

_DEPTH_MAX = 24
_OPTIONAL_DEPTH_MAX = 4  # deeper than this, only required properties are given
_VALUES_MAX = 2_000
_STRING_MAX = 4_096
_CHARACTERS_MAX = 131_072  # of names, strings and constants together
_REFERENCES_MAX = 32  # in a row

_FORMATS = {
    "date": "2026-01-02",
    "date-time": "2026-01-02T03:04:05Z",
    "time": "03:04:05Z",
    "duration": "PT1H",
    "email": "clerk@sandbox.example",
    "hostname": "sandbox.example",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://sandbox.example/",
    "url": "https://sandbox.example/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
_WORDS = ("amber", "basil", "cedar", "delta", "ember", "fjord", "grove", "harbour")


def conforming(schema: object, seed: int) -> object:
    """One value for ``schema``; the same seed gives the same value."""
    return _Maker(schema).value(schema, seed, 0)


class _Maker:
    """Holds the root (for $ref) and what may still be produced.

    Everything that a reference can repeat is charged: a small body must not become a huge answer.
    """

    def __init__(self, root: object) -> None:
        self._root = root
        self._left = _VALUES_MAX
        self._characters_left = _CHARACTERS_MAX

    def _charge(self, values: int, characters: int = 0) -> None:
        self._left -= values
        self._characters_left -= characters
        if self._left < 0 or self._characters_left < 0:
            raise _unsatisfiable("is too large or nests without end")

    def value(self, schema: object, seed: int, depth: int) -> object:
        self._charge(1 if depth <= _DEPTH_MAX else _VALUES_MAX + 1)
        if schema is True:
            return "anything"
        node = _members(schema)
        if node is None:
            raise _unsatisfiable("has a part that is not a schema")
        node = self._resolve(node, _REFERENCES_MAX)
        if "const" in node or "enum" in node:
            given = node["const"] if "const" in node else _pick(_items(node["enum"]), seed)
            self._charge(1, len(msgspec.json.encode(given)))
            return given
        for word in ("anyOf", "oneOf"):
            if word in node:
                return self._branch(node, word, seed, depth)
        match _type_of(node, depth):
            case "object":
                return self._object(node, seed, depth)
            case "array":
                return self._array(node, seed, depth)
            case "integer":
                return int(_number(node, seed, whole=True))
            case "number":
                return _number(node, seed, whole=False)
            case "boolean":
                return seed % 2 == 0
            case "null":
                return None
            case _:
                made = _string(node, seed)
                self._charge(0, len(made))
                return made

    def _resolve(self, node: dict[str, object], steps_left: int) -> dict[str, object]:
        """Follows $ref and folds allOf in, until neither is left."""
        while "$ref" in node or "allOf" in node:
            steps_left -= 1
            if steps_left < 0:
                raise _unsatisfiable("refers to itself without end")
            if "$ref" in node:
                rest = {name: value for name, value in node.items() if name != "$ref"}
                node = self._both(self._target(node["$ref"]), rest)
            else:
                parts = _items(node["allOf"])
                node = {name: value for name, value in node.items() if name != "allOf"}
                for part in parts:
                    whole = self._resolve(_members(part) or {}, steps_left)
                    node = self._both(node, whole)
        return node

    def _both(self, first: dict[str, object], second: dict[str, object]) -> dict[str, object]:
        """Two schemas at once: properties and required are united, else the second's key wins."""
        made = {**first, **second}
        if "properties" in first and "properties" in second:
            made["properties"] = {
                **(_members(first["properties"]) or {}),
                **(_members(second["properties"]) or {}),
            }
        for word in ("required", "allOf"):
            if word in first and word in second:
                made[word] = [*_items(first[word]), *_items(second[word])]
        size = len(_members(made.get("properties")) or {}) + len(_items(made.get("required")))
        self._charge(1 + size // 16)
        return made

    def _target(self, reference: object) -> dict[str, object]:
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise _unsatisfiable("has a $ref that is not inside it")
        here: object = self._root
        for step in reference[1:].split("/")[1:]:
            members = _members(here) or {}
            here = members.get(step.replace("~1", "/").replace("~0", "~"))
        found = _members(here)
        if found is None:
            raise _unsatisfiable(f"has a $ref to nothing ({reference[:100]})")
        return found

    def _branch(self, node: dict[str, object], word: str, seed: int, depth: int) -> object:
        """The first alternative near the top; deeper the plainest one, so that recursion ends."""
        branches = _items(node[word])
        if not branches:
            raise _unsatisfiable(f"has an empty {word}")
        chosen = branches[0] if depth < _OPTIONAL_DEPTH_MAX else min(branches, key=_weight)
        rest = {name: value for name, value in node.items() if name != word}
        return self.value(self._both(rest, _members(chosen) or {}), seed, depth + 1)

    def _object(self, node: dict[str, object], seed: int, depth: int) -> dict[str, object]:
        properties = _members(node.get("properties")) or {}
        required = {name for name in _items(node.get("required")) if isinstance(name, str)}
        extra = node.get("additionalProperties", True)
        made: dict[str, object] = {}
        for index, (name, schema) in enumerate(properties.items()):
            if name in required or depth < _OPTIONAL_DEPTH_MAX:
                self._charge(0, len(name))
                made[name] = self.value(schema, seed + 7 * index + 1, depth + 1)
        for name in sorted(required - properties.keys()):
            self._charge(1, len(name))
            made[name] = "anything" if extra is True else self.value(extra, seed, depth + 1)
        least = _whole(node.get("minProperties"), 0)
        while len(made) < least:
            self._charge(1)
            key = f"property_{len(made)}"
            made[key] = "anything" if extra is True else self.value(extra, seed, depth + 1)
        return made

    def _array(self, node: dict[str, object], seed: int, depth: int) -> list[object]:
        heads = _items(node.get("prefixItems"))
        least = _whole(node.get("minItems"), 0)
        most = _whole(node.get("maxItems"), max(least, 2, len(heads)))
        wanted = max(least, len(heads) or (2 if depth < _OPTIONAL_DEPTH_MAX else 0))
        schema = node.get("items", True)
        made: list[object] = []
        attempt = 0
        while len(made) < min(wanted, most):
            index = len(made)
            source = heads[index] if index < len(heads) else schema
            item = self.value(source, seed + 11 * attempt, depth + 1)
            attempt += 1
            if not (node.get("uniqueItems") is True and item in made):
                made.append(item)
            elif attempt > 4 * wanted and len(made) >= least:
                break
        return made


def _number(node: dict[str, object], seed: int, *, whole: bool) -> float:
    low, high = _real(node.get("minimum")), _real(node.get("maximum"))
    over, under = _real(node.get("exclusiveMinimum")), _real(node.get("exclusiveMaximum"))
    step = _real(node.get("multipleOf")) or (1.0 if whole else 0.0)
    if whole and step != int(step):
        step = 1.0 if (1 / step).is_integer() else step * 10**9
    if over is not None and (low is None or over >= low):
        low = over + (step or _gap(over, high if under is None else under))
        if step:
            low = math.floor(over / step) * step + step
    if under is not None and (high is None or under <= high):
        high = under - (step or _gap(under, low))
        if step:
            high = math.ceil(under / step) * step - step
    if low is None:
        low = min(0.0, high) if high is not None else 0.0
    first = math.ceil(low / step) * step if step else low
    if high is not None and first > high:
        raise _unsatisfiable("has number bounds that exclude each other")
    steps = seed % 10
    chosen = first + steps * (step or 0.5)
    if high is not None and chosen > high:
        chosen = first
    return chosen


def _gap(edge: float, other: float | None) -> float:
    """A distance from an exclusive bound that stays on this side of the other bound."""
    return min(0.5, abs(other - edge) / 2) if other is not None and other != edge else 0.5


def _string(node: dict[str, object], seed: int) -> str:
    made = _FORMATS.get(str(node.get("format")), _WORDS[seed % len(_WORDS)])
    least, most = _whole(node.get("minLength"), 0), _whole(node.get("maxLength"), _STRING_MAX)
    if least > _STRING_MAX or least > most:
        raise _unsatisfiable("asks for a string of impossible length")
    return made.ljust(least, "x")[:most]


def _type_of(node: dict[str, object], depth: int) -> str:
    """The declared type; of several the first, deeper "null" if allowed; else a guess by keys."""
    declared = node.get("type")
    if isinstance(declared, str):
        return declared
    names = [name for name in _items(declared) if isinstance(name, str)]
    if names:
        return "null" if "null" in names and depth >= _OPTIONAL_DEPTH_MAX else names[0]
    if node.keys() & {"properties", "required", "additionalProperties"}:
        return "object"
    if node.keys() & {"items", "prefixItems", "minItems"}:
        return "array"
    if node.keys() & {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}:
        return "number"
    return "string"


def _weight(schema: object) -> int:
    """How much a branch would produce: null and scalars first, references last."""
    node = _members(schema) or {}
    if node.get("type") == "null" or "const" in node or "enum" in node:
        return 0
    if "$ref" in node or "anyOf" in node or "oneOf" in node or "allOf" in node:
        return 3
    return 2 if node.get("type") in ("object", "array") else 1


def _pick(values: list[object], seed: int) -> object:
    if not values:
        raise _unsatisfiable("has an empty enum")
    return values[seed % len(values)]


def _members(value: object) -> dict[str, object] | None:
    return cast("dict[str, object]", value) if isinstance(value, dict) else None


def _items(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []


def _whole(value: object, otherwise: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return otherwise
    return max(0, int(value))


def _real(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e15:
        return None
    return float(value)


def _unsatisfiable(why: str) -> Refused:
    return Refused(f"Invalid schema: it {why}.", param="schema", code="invalid_json_schema")
