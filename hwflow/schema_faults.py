"""Faults that people can act on, from what a pydantic model has to say about YAML data.

What must hold is put into words from the model's JSON schema, so every model gets the same
sentences without doing anything for them.
"""

from __future__ import annotations

import difflib
import functools
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from hwflow.errors import Fault
from hwflow.yaml_source import KeyPath, Mark, YamlSource, dotted

Placed = tuple[Mark, Fault]
"""A fault and its position, to sort by."""

_Model = TypeVar("_Model", bound=BaseModel)
_Schema = Mapping[str, Any]


def validate(
    model: type[_Model],
    data: Any,
    source: YamlSource,
    path: KeyPath,
    faults: list[Placed],
    *,
    reasons: Mapping[tuple[str, ...], str] | None = None,
    known: Iterable[str] = (),
) -> _Model | None:
    """An instance of the model from the data at `path` of the source.

    Args:
        model: what the data must be.
        data: plain data; what `source` holds at `path`, perhaps without some keys.
        source: gives the positions.
        path: of the data in the source.
        faults: what is wrong is appended here.
        reasons: path to why a field takes nothing else.
        known: further keys that may stand beside the model's own.

    Returns:
        None where there was a fault.
    """
    try:
        return model.model_validate_json(json.dumps(data))
    except ValidationError as error:
        found = _by_path(error, data)
    schema = _schema_of(model)
    for relative, detail in found.items():
        here = (*path, *relative)
        message = _message(detail, relative, data, schema, tuple(known))
        reason = (reasons or {}).get(tuple(str(part) for part in here))
        if reason:
            message = f"{message} The reason: {reason}."
        unknown = detail["type"] == "extra_forbidden"
        faults.append(placed(source, here, message, of_key=unknown))
    return None


def placed(source: YamlSource, path: KeyPath, message: str, *, of_key: bool = False) -> Placed:
    """A fault at a path of the source."""
    where = source.where(path, of_key=of_key)
    return source.mark(path, of_key=of_key), Fault(where, dotted(path), message)


def show(value: Any) -> str:
    """A value as it stands in YAML, shortened."""
    if isinstance(value, Mapping):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, str):
        text = repr(value)
    elif isinstance(value, float) and value != value:
        text = ".nan"
    else:
        text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:56]} ..."


def did_you_mean(wanted: str, options: Iterable[str]) -> str:
    """` Did you mean 'x'?`, or nothing if no option is close."""
    options = list(options)
    folded = {option.lower(): option for option in reversed(options)}
    close = difflib.get_close_matches(wanted.lower(), folded, n=1, cutoff=0.6)
    return f" Did you mean {folded[close[0]]!r}?" if close else ""


@functools.cache
def _schema_of(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema()


# --- from pydantic's errors to one error a place -------------------------------------------------


def _by_path(error: ValidationError, data: Any) -> dict[KeyPath, Any]:
    """The errors by their place in the data; of a union's branches, what went deepest."""
    result: dict[KeyPath, Any] = {}
    for detail in error.errors(include_url=False):
        path = _data_path(detail["loc"], data, detail["type"])
        result.setdefault(path, detail)
    return {
        path: detail
        for path, detail in result.items()
        if not any(len(other) > len(path) and other[: len(path)] == path for other in result)
    }


def _data_path(loc: tuple[int | str, ...], data: Any, kind: str) -> KeyPath:
    """Drops from pydantic's location what names a branch of a union, not a key."""
    path: list[str | int] = []
    for position, part in enumerate(loc):
        last = position == len(loc) - 1
        if isinstance(data, dict) and isinstance(part, str):
            if part in data:
                data = data[part]
                path.append(part)
            elif last and kind == "missing":
                path.append(part)
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
            path.append(part)
    return tuple(path)


def _value_at(data: Any, path: KeyPath) -> Any:
    for part in path:
        data = data[part]
    return data


def _message(detail: Any, path: KeyPath, data: Any, root: _Schema, known: tuple[str, ...]) -> str:
    kind = detail["type"]
    if kind == "extra_forbidden":
        keys = [*known, *_keys(_lookup(root, path[:-1]), root)]
        return f"is not known.{did_you_mean(str(path[-1]), keys)} Known here: {', '.join(keys)}."
    if kind in ("value_error", "assertion_error"):
        text = str(detail["ctx"]["error"])
        return text if text.endswith((".", "?")) else f"{text}."
    schemas = _lookup(root, path)
    expected = _describe(schemas, root)
    if (
        kind == "missing"
        and isinstance(path[-1], str)
        and path[-1] not in _value_at(data, path[:-1])
    ):
        return f"is required: must be {expected}."
    value = _value_at(data, path)
    if not expected:
        return f"{detail['msg']}, not {show(value)}."
    return f"must be {expected}, not {show(value)}.{_suggest(value, schemas, root)}"


# --- JSON schema to words ------------------------------------------------------------------------


def _branches(schema: _Schema, root: _Schema) -> list[_Schema]:
    """The schema with references followed and alternatives laid side by side."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        return _branches(root["$defs"][name], root)
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            return [branch for part in schema[key] for branch in _branches(part, root)]
    return [schema]


def _lookup(root: _Schema, path: KeyPath) -> list[_Schema]:
    """Every alternative that the schema has for a path; empty if there is none."""
    schemas = _branches(root, root)
    for part in path:
        following: list[_Schema] = []
        for schema in schemas:
            inner: Any = None
            if isinstance(part, str):
                inner = schema.get("properties", {}).get(part, schema.get("additionalProperties"))
            elif part < len(schema.get("prefixItems", ())):
                inner = schema["prefixItems"][part]
            else:
                inner = schema.get("items")
            if isinstance(inner, Mapping):
                following.extend(_branches(inner, root))
        schemas = following
    return schemas


def _keys(schemas: list[_Schema], root: _Schema) -> list[str]:
    return [key for schema in schemas for key in schema.get("properties", {})]


def _describe(schemas: list[_Schema], root: _Schema, plural: bool = False) -> str:
    texts = dict.fromkeys(_describe_one(schema, root, plural) for schema in schemas)
    return " or ".join(text for text in texts if text)


def _describe_one(schema: _Schema, root: _Schema, plural: bool) -> str:
    options = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if options:
        shown = [show(option) for option in options]
        return shown[0] if len(shown) == 1 else f"one of {', '.join(shown)}"
    kind = schema.get("type")
    if kind in ("integer", "number"):
        noun = {"integer": "an integer", "number": "a number"}[kind]
        noun = f"{noun.split()[1]}s" if plural else noun
        return f"{noun}{_range(schema)}"
    if kind == "array":
        return _describe_list(schema, root)
    plain = {"boolean": "true or false", "string": "a text", "null": "null", "object": "a mapping"}
    return plain.get(str(kind), "")


def _describe_list(schema: _Schema, root: _Schema) -> str:
    least, most = schema.get("minItems"), schema.get("maxItems")
    items = schema.get("items") or (schema.get("prefixItems") or [{}])[0]
    count = f"{least} " if least == most else f"{least} to {most} " if least and most else ""
    if least is None and most is None and "prefixItems" in schema:
        count = f"{len(schema['prefixItems'])} "
    return f"a list of {count}{_describe(_branches(items, root), root, plural=True) or 'values'}"


def _range(schema: _Schema) -> str:
    low, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    high, below = schema.get("maximum"), schema.get("exclusiveMaximum")
    if low is not None and high is not None:
        return f" from {low:g} to {high:g}" if high < 1e6 else f" from {low:g} to {high}"
    parts = []
    if low is not None:
        parts.append(f"of at least {low:g}")
    if above is not None:
        parts.append(f"above {above:g}")
    if high is not None:
        parts.append(f"of at most {high:g}")
    if below is not None:
        parts.append(f"below {below:g}")
    return f" {' and '.join(parts)}" if parts else ""


def _suggest(value: Any, schemas: list[_Schema], root: _Schema) -> str:
    """What was probably meant, if it can be told."""
    if isinstance(value, bool | list | dict) or value is None:
        return ""
    for schema in schemas:
        options = schema.get("enum", [schema["const"]] if "const" in schema else [])
        texts = [option for option in options if isinstance(option, str)]
        if texts and not isinstance(value, str) and str(value) in texts:
            return f" Put it in quotes: {json.dumps(str(value))}."
        if len(texts) > 1 and (hint := did_you_mean(str(value), texts)):
            return hint
        first = next(iter(schema.get("properties", {})), None)
        if first is not None and not isinstance(value, str):
            return f" Did you mean {{{first}: {value}}}?"
        if schema.get("type") in ("integer", "number"):
            numbers = re.findall(r"\d+(?:\.\d+)?", value) if isinstance(value, str) else [value]
            if len(numbers) == 1:
                number = float(numbers[0])
                fits = _within(number, schema)
                if fits and schema["type"] == "integer" and number == int(number):
                    return f" Did you mean {int(number)}?"
                if fits and schema["type"] == "number":
                    return f" Did you mean {number:g}?"
    return ""


def _within(number: float, schema: _Schema) -> bool:
    return (
        number >= schema.get("minimum", number)
        and number <= schema.get("maximum", number)
        and not number <= schema.get("exclusiveMinimum", number - 1)
        and not number >= schema.get("exclusiveMaximum", number + 1)
    )
