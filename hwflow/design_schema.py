"""The JSON Schema of design files, for editors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from hwflow.sections import NAME_LENGTH, NAME_PATTERN, SECTIONS


def json_schema(families: Mapping[str, type[BaseModel]]) -> dict[str, Any]:
    """The JSON Schema of design files, for editors; `hwflow schema` prints it."""
    definitions: dict[str, Any] = {}
    networks: list[dict[str, Any]] = []
    for family in sorted(families):
        schema = _schema_of(families[family], f"{family}.", definitions)
        schema["properties"] = {"family": {"const": family}, **schema.get("properties", {})}
        schema["required"] = ["family", *schema.get("required", [])]
        networks.append(schema)
    networks.append(
        {
            "title": "Model file",
            "type": "object",
            "properties": {"file": {"type": "string", "description": "A .h5 or .keras model."}},
            "required": ["file"],
            "additionalProperties": False,
        }
    )
    properties: dict[str, Any] = {
        "name": {"type": "string", "pattern": f"^{NAME_PATTERN}$", "maxLength": NAME_LENGTH},
        "network": {"description": "A family, or your own model file.", "oneOf": networks},
    }
    for key, model in SECTIONS.items():
        section = _schema_of(model, "", definitions)
        properties[key] = {"anyOf": [section, {"type": "null"}]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "hwflow design",
        "type": "object",
        "properties": properties,
        "required": ["name", "network"],
        "additionalProperties": False,
        "$defs": dict(sorted(definitions.items())),
    }


def _schema_of(model: type[BaseModel], prefix: str, definitions: dict[str, Any]) -> dict[str, Any]:
    schema = model.model_json_schema(ref_template=f"#/$defs/{prefix}{{model}}")
    for name, definition in schema.pop("$defs", {}).items():
        definitions[f"{prefix}{name}"] = definition
    return schema
