"""YAML documents as data, with the line and column of every key and list item."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import yaml

from mailvigil.yaml_input import YamlLoader, check_depth, yaml_errors

_TIMESTAMP = "tag:yaml.org,2002:timestamp"

KeyOrIndex = str | int
"""A key of a mapping or an index of a list."""

Position = tuple[int, int]
"""Line and column in the file, from 1."""


@dataclass(frozen=True, slots=True)
class Document:
    """One document. Its ``data`` is what JSON could hold: times are the text that was written.

    ``repeated`` are keys that a mapping has twice: YAML keeps the last and says nothing.
    """

    data: object
    repeated: tuple[tuple[Position, str], ...]
    _node: yaml.Node

    def position(self, steps: Sequence[KeyOrIndex]) -> Position:
        """Return where the key or list item is that *steps* lead to, as far as they lead."""
        node, place = self._node, _position(self._node)
        for step in steps:
            match node:
                case yaml.MappingNode():
                    pairs = [pair for pair in node.value if pair[0].value == step]
                    if not pairs:
                        break
                    place, node = _position(pairs[-1][0]), pairs[-1][1]
                case yaml.SequenceNode() if isinstance(step, int):
                    node = node.value[step]
                    place = _position(node)
        return place


def documents(text: str) -> tuple[Document, ...]:
    """Return the documents in *text*.

    Raises:
        YamlError: It is not YAML.

    """
    read = []
    with yaml_errors(), _loading(text) as loader:
        while loader.check_node():
            node = loader.get_node()
            if node is None:
                break
            check_depth(node)
            # Before the data: to construct it merges `<<` into the node, as if keys came twice.
            repeated = tuple(_repeated(node))
            read.append(Document(loader.construct_document(node), repeated, node))
    return tuple(read)


class _JsonLoader(YamlLoader):
    """The loader without types that JSON lacks."""

    yaml_implicit_resolvers: ClassVar = {
        first: [(tag, pattern) for tag, pattern in known if tag != _TIMESTAMP]
        for first, known in YamlLoader.yaml_implicit_resolvers.items()
    }


@contextmanager
def _loading(text: str) -> Iterator[_JsonLoader]:
    loader = _JsonLoader(text)
    try:
        yield loader
    finally:
        loader.dispose()


def _repeated(node: yaml.Node) -> Iterator[tuple[Position, str]]:
    match node:
        case yaml.MappingNode():
            keys = set()
            for key, value in node.value:
                if isinstance(key, yaml.ScalarNode) and key.value in keys:
                    yield _position(key), key.value
                keys.add(str(key.value))
                yield from _repeated(value)
        case yaml.SequenceNode():
            for item in node.value:
                yield from _repeated(item)


def _position(node: yaml.Node) -> Position:
    return node.start_mark.line + 1, node.start_mark.column + 1
