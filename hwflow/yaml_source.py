"""YAML as plain data that remembers the line and column of every key and value.

Scalars are read as YAML 1.2's core schema says (what editors check by too): `no`, `010` and `1:30`
are what they look like, and `1e-3` is a number. Tags are refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from hwflow.errors import DesignError, Fault

KeyPath = tuple[str | int, ...]
"""Keys and list positions from the root of the document to a value."""

Mark = tuple[int, int]
"""Line and column, both from 1."""

_MAX_BYTES = 1 << 20
_MAX_NODES = 100_000
_INTEGER = re.compile(r"[-+]?[0-9]+")
_PREFIXED_INTEGER = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SURROGATE = re.compile("[\ud800-\udfff]")
_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
}


@dataclass(frozen=True)
class YamlSource:
    """A YAML document.

    Attributes:
        file: as the user named it.
        data: dictionaries with text keys, lists, and scalars.
        values: where each value stands.
        keys: where the key of each value stands; list elements have none.
        faults: what is wrong with the text itself, such as a key that is given twice.
    """

    file: Path
    data: Any
    values: dict[KeyPath, Mark]
    keys: dict[KeyPath, Mark]
    faults: tuple[Fault, ...]

    def mark(self, path: KeyPath, *, of_key: bool = False) -> Mark:
        """Where a value (or its key) stands; of what is not there, where its parent does."""
        if of_key and path in self.keys:
            return self.keys[path]
        while path and path not in self.values:
            path = path[:-1]
        return self.values.get(path, (1, 1))

    def where(self, path: KeyPath, *, of_key: bool = False) -> str:
        """The same as `file:line:column`."""
        line, column = self.mark(path, of_key=of_key)
        return f"{self.file}:{line}:{column}"

    def path_of(self, dotted: str) -> KeyPath:
        """The path that `dotted` names; keys may hold dots themselves."""
        path: list[str | int] = []
        data, rest = self.data, dotted
        while rest:
            fitting: list[str] = []
            if isinstance(data, dict):
                fitting = [key for key in data if rest == key or rest.startswith(f"{key}.")]
            key = max(fitting, key=len, default=rest.split(".")[0])
            rest = rest[len(key) + 1 :]
            if isinstance(data, list) and key.isdigit():
                path.append(int(key))
                data = data[int(key)] if int(key) < len(data) else None
            else:
                path.append(key)
                data = data.get(key) if isinstance(data, dict) else None
        return tuple(path)


def dotted(path: Sequence[str | int]) -> str:
    """A path as people write it: `preprocessing.mean.0`."""
    return ".".join(str(part) for part in path)


def read_yaml(file: Path) -> YamlSource:
    """Reads one YAML document.

    Raises:
        DesignError: if the file cannot be read or is not YAML.
    """
    try:
        size = file.stat().st_size
        if size > _MAX_BYTES:
            raise DesignError(
                Fault(str(file), "", f"must be a YAML file of at most 1 MiB, not {size} bytes")
            )
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        reason = error.strerror or str(error)
        raise DesignError(Fault(str(file), "", f"cannot be read: {reason}")) from None
    except UnicodeDecodeError as error:
        message = f"must be UTF-8 text, but byte {error.start} is not"
        raise DesignError(Fault(str(file), "", message)) from None
    return parse_yaml(text, file)


def parse_yaml(text: str, file: Path) -> YamlSource:
    """Parses the text of one YAML document; `file` is named in faults.

    Raises:
        DesignError: if the text is not YAML.
    """
    try:
        root = yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{file}:{mark.line + 1}:{mark.column + 1}" if mark else str(file)
        parts = [part for part in (error.context, error.problem) if part]
        raise DesignError(Fault(where, "", f"is not YAML: {', '.join(parts)}")) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        column = error.position - (text.rfind("\n", 0, error.position) + 1) + 1
        message = f"is not YAML: the character {error.character!r} is not allowed"
        raise DesignError(Fault(f"{file}:{line}:{column}", "", message)) from None
    except RecursionError:
        raise DesignError(Fault(str(file), "", "is nested too deeply")) from None
    return _Reader(file).source(root)


class _Reader:
    """Turns the tree of nodes into plain data, noting marks and faults."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.values: dict[KeyPath, Mark] = {}
        self.keys: dict[KeyPath, Mark] = {}
        self.faults: list[Fault] = []
        self.open: set[int] = set()
        self.count = 0

    def source(self, root: yaml.Node | None) -> YamlSource:
        data = None if root is None else self.convert(root, ())
        return YamlSource(self.file, data, self.values, self.keys, tuple(self.faults))

    def fault(self, node: yaml.Node, path: KeyPath, message: str) -> None:
        line, column = _mark(node)
        self.faults.append(Fault(f"{self.file}:{line}:{column}", dotted(path), message))

    def convert(self, node: yaml.Node, path: KeyPath) -> Any:
        self.count += 1
        if self.count > _MAX_NODES:
            raise DesignError(
                Fault(str(self.file), "", f"holds more than {_MAX_NODES} values, aliases counted")
            )
        self.values.setdefault(path, _mark(node))
        if id(node) in self.open:
            self.fault(node, path, "an alias must not stand inside of what it names")
            return None
        self.open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                self.check_tag(node, path, "tag:yaml.org,2002:map")
                return self.mapping(node, path)
            if isinstance(node, yaml.SequenceNode):
                self.check_tag(node, path, "tag:yaml.org,2002:seq")
                return [self.convert(part, (*path, i)) for i, part in enumerate(node.value)]
            self.check_tag(node, path, "tag:yaml.org,2002:str")
            self.check_text(node, path)
            return _scalar(node)
        finally:
            self.open.discard(id(node))

    def check_tag(self, node: yaml.Node, path: KeyPath, plain: str) -> None:
        if node.tag not in (plain, "!"):
            self.fault(node, path, f"must have no tag, not {node.tag!r}. Leave the tag out.")

    def check_text(self, node: yaml.Node, path: KeyPath) -> bool:
        """Whether the scalar is text; escapes can spell halves of characters, which are none."""
        if not _SURROGATE.search(node.value):
            return True
        self.fault(node, path, "must not spell a character by its UTF-16 halves")
        return False

    def mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        result: dict[str, Any] = {}
        merged: list[yaml.Node] = []
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self.fault(key_node, path, "a key must be a word, not a list or a mapping")
                continue
            key = str(key_node.value)
            if not self.check_text(key_node, path):
                continue
            if key == "<<" and key_node.style is None:
                several = isinstance(value_node, yaml.SequenceNode)
                merged.extend(value_node.value if several else [value_node])
                continue
            here = (*path, key)
            if key in result:
                line, _ = self.keys[here]
                self.fault(key_node, here, f"is given twice, first in line {line}. Keep one.")
                continue
            self.keys[here] = _mark(key_node)
            result[key] = self.convert(value_node, here)
        for source in merged:
            if not isinstance(source, yaml.MappingNode):
                self.fault(source, path, "`<<` must name a mapping, or a list of mappings")
                continue
            if id(source) in self.open:
                self.fault(source, path, "an alias must not stand inside of what it names")
                continue
            self.open.add(id(source))
            result.update(self.convert(_without(source, set(result)), path))
            self.open.discard(id(source))
        return result


def _without(node: yaml.MappingNode, keys: set[str]) -> yaml.MappingNode:
    pairs = [(key, value) for key, value in node.value if key.value not in keys]
    return yaml.MappingNode(node.tag, pairs, node.start_mark, node.end_mark)


def _mark(node: yaml.Node) -> Mark:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _scalar(node: Any) -> Any:
    text = str(node.value)
    if node.style is not None or node.tag == "!":
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text) and len(text) <= 40:
        return int(text)
    if _PREFIXED_INTEGER.fullmatch(text) and len(text) <= 40:
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text
