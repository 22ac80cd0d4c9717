"""Read YAML that people wrote: the only loader, with one error for all that can be wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

import yaml
from yaml.constructor import ConstructorError

from mailvigil.errors import MailvigilError

MOST_LEVELS = 100
"""No file of ours nests deeper; what reads the data further on could not follow it."""

_FAST: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's where PyYAML has it: the loader written in Python takes seconds for the whole pack."""

_UNREADABLE = (ValueError, TypeError, LookupError, AttributeError)
"""What PyYAML raises for a value that does not fit its tag."""

_PROBLEMS = {
    "tag:yaml.org,2002:timestamp": "a date or time that does not exist",
    "tag:yaml.org,2002:int": "a number that cannot be read, or is too large",
    "tag:yaml.org,2002:float": "a number that cannot be read",
}
_TOO_DEEP = f"nested too deeply (at most {MOST_LEVELS} levels)"


class YamlError(MailvigilError):
    """A text is not YAML, or holds a value that cannot be. ``line`` and ``column`` are from 1.

    They are None where the place is not known. ``what`` repeats nothing of the text.
    """

    def __init__(self, what: str, line: int | None = None, column: int | None = None) -> None:
        self.what = what
        self.line = line
        self.column = column
        super().__init__(f"is not YAML{f' at line {line}' if line else ''}: {what}")


class YamlLoader(_FAST):  # type: ignore[misc,valid-type]  # chosen when it is imported
    """A safe loader that says where a value is that cannot be read."""

    def construct_document(self, node: yaml.Node) -> object:
        """Return the data of a document; refuse one that is nested too deeply."""
        check_depth(node)
        return super().construct_document(node)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> object:  # noqa: FBT001, FBT002 - PyYAML's
        """Return the data of a node."""
        try:
            return super().construct_object(node, deep)
        except _UNREADABLE:
            what = _PROBLEMS.get(node.tag, "a value that cannot be read")
            raise ConstructorError(None, None, what, node.start_mark) from None


def load_yaml(text: str) -> object:
    """Return what a text in YAML says; None if it is empty.

    Raises:
        YamlError: It is not YAML.

    """
    with yaml_errors():
        value: object = yaml.load(text, Loader=YamlLoader)  # noqa: S506 - a safe loader
        return value


def load_yaml_documents(text: str) -> list[object]:
    """Return what each document of a text in YAML says.

    Raises:
        YamlError: It is not YAML.

    """
    with yaml_errors():
        return list(yaml.load_all(text, Loader=YamlLoader))


@contextmanager
def yaml_errors() -> Iterator[None]:
    """Raise what PyYAML raises in the context as ``YamlError``."""
    try:
        yield
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or getattr(error, "reason", None)
        place = (mark.line + 1, mark.column + 1) if mark else (None, None)
        raise YamlError(what or "it cannot be read", *place) from None
    except RecursionError:
        raise YamlError(_TOO_DEEP) from None


def check_depth(root: yaml.Node) -> None:
    """Refuse a node that is nested too deeply, or in itself."""
    waiting = [] if isinstance(root, yaml.ScalarNode) else [(root, 1)]
    seen: dict[int, int] = {}
    while waiting:
        node, depth = waiting.pop()
        if seen.get(id(node), 0) >= depth:
            continue
        if depth > MOST_LEVELS:
            raise ConstructorError(None, None, _TOO_DEEP, node.start_mark)
        seen[id(node)] = depth
        items = node.value if isinstance(node, yaml.SequenceNode) else chain(*node.value)
        waiting.extend((item, depth + 1) for item in items if not isinstance(item, yaml.ScalarNode))
