"""Check rule and test files against their JSON schemas, before anything else is read of them.

The schemas explain each key to an author's editor; here they refuse what they do not know. Each
problem reads ``file:line:column: what (what is allowed)``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from os.path import relpath
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from mailvigil.workbench.yaml_documents import Document, KeyOrIndex, Position, documents
from mailvigil.yaml_input import YamlError

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError

SIGMA_RULE = Path("sigma/rule.schema.json")
KQL_RULE = Path("kql/rule.schema.json")
TEST = Path("sigma/test.schema.json")
"""The schemas, below the folder of the content."""

_PATTERNS = {
    "sigma/rules/**/*.yml": SIGMA_RULE,
    "kql/analytics/*.yaml": KQL_RULE,
    "kql/hunting/*.yaml": KQL_RULE,
    "sigma/rules/**/*.test.yaml": TEST,
    "kql/*/*.test.yaml": TEST,
}
"""Which files have which schema; the last pattern that fits a file counts."""

_TYPES: Mapping[str, str] = {
    "string": "a text",
    "array": "a list",
    "object": "a mapping",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
}
LIMITS: Mapping[str, str] = {
    "minLength": "is shorter than {} characters",
    "maxLength": "is longer than {} characters",
    "minItems": "has fewer than {} entries",
    "uniqueItems": "has an entry twice",
    "minProperties": "has fewer than {} keys",
    "maxProperties": "has more than {} keys",
    "minimum": "is less than {}",
    "exclusiveMinimum": "is not more than {}",
    "maximum": "is more than {}",
}
"""What breaking one of the schemas' limits is called."""


@dataclass(frozen=True, slots=True)
class Misformed:
    """What a schema refuses of the file ``path``: ``problem`` is the complete line."""

    path: Path
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refused:
    """What one keyword of a schema refuses. What it wants and gets may be anything that JSON has.

    ``at`` are the steps to the value, ``root`` is the whole schema.
    """

    at: tuple[KeyOrIndex, ...]
    keyword: str
    wanted: Any
    value: Any
    schema: Mapping[str, Any]
    root: Mapping[str, Any]

    @classmethod
    def by(cls, validator: Draft202012Validator, error: ValidationError) -> _Refused:
        """Return what *error* of *validator* says; the schemas hold no ``true`` or ``false``."""
        return cls(
            at=tuple(error.absolute_path),
            keyword=str(error.validator),
            wanted=error.validator_value,
            value=error.instance,
            schema=cast("Mapping[str, Any]", error.schema),
            root=cast("Mapping[str, Any]", validator.schema),
        )


def misformed(root: Path) -> tuple[Misformed, ...]:
    """Return what the schemas refuse of the rules, hunting queries and tests below *root*.

    A file that cannot be read, or is not YAML at all, is left to its loader.
    """
    validators = {schema: _validator(root / schema) for schema in (SIGMA_RULE, KQL_RULE, TEST)}
    return tuple(
        Misformed(path, f"{path}:{line}:{column}: {what}")
        for path, schema in schema_files(root).items()
        for (line, column), what in _problems(path, root / schema, validators[schema])
    )


def schema_files(root: Path) -> Mapping[Path, Path]:
    """Return the files below *root* that have a schema, each with the schema's place below it."""
    schema_by_path = {
        path: schema for pattern, schema in _PATTERNS.items() for path in root.glob(pattern)
    }
    return dict(sorted(schema_by_path.items()))


def first_line(path: Path, schema: Path) -> str:
    """Return the comment that names *schema* to editors in the file *path*."""
    return f"# yaml-language-server: $schema={Path(relpath(schema, path.parent)).as_posix()}"


def _validator(path: Path) -> Draft202012Validator:
    from jsonschema import Draft202012Validator  # noqa: PLC0415 - `rules list` does without it

    return Draft202012Validator(json.loads(path.read_text(encoding="utf-8")))


def _problems(
    path: Path, schema: Path, validator: Draft202012Validator
) -> list[tuple[Position, str]]:
    """Return the problems of one file with their places, from its top to its end."""
    try:
        text = path.read_text(encoding="utf-8")
        problems = [
            problem
            for document in documents(text)
            for problem in _document_problems(document, validator)
        ]
    except (OSError, YamlError, UnicodeDecodeError):
        return []
    line = first_line(path, schema)
    if text.splitlines()[:1] != [line]:
        problems.append(((1, 1), f"the first line does not name the schema (write {line})"))
    return sorted(dict.fromkeys(problems))


def _document_problems(
    document: Document, validator: Draft202012Validator
) -> Iterator[tuple[Position, str]]:
    for position, key in document.repeated:
        yield position, f"{key} is given twice (give it once)"
    for error in validator.iter_errors(document.data):
        for steps, what in _explained(_Refused.by(validator, error)):
            yield document.position(steps), what


def _explained(refused: _Refused) -> Iterator[tuple[tuple[KeyOrIndex, ...], str]]:
    """Yield the keys that are wrong, as steps that lead to them, and what is wrong with each."""
    at, schema, value = refused.at, refused.schema, refused.value
    if refused.keyword == "required":
        for key in (key for key in refused.wanted if key not in value):
            yield at, f"{_name((*at, key))} is missing ({_meaning(refused, key)})"
    elif refused.keyword == "additionalProperties":
        known = schema["properties"]
        for key in (key for key in value if key not in known):
            yield (*at, key), f"{_name((*at, key))} is not known (there are {', '.join(known)})"
    else:
        yield at, f"{_name(at)} {_wrong(refused)}"


def _wrong(refused: _Refused) -> str:
    """Return what is wrong with one value, and what is allowed in its place."""
    schema, wanted, value = refused.schema, refused.wanted, refused.value
    match refused.keyword:
        case "type":
            return f"is {_kind(value)} (give {_types(wanted)}{_such_as(schema)})"
        case "enum" | "const" | "pattern":
            return f"is {_shown(value)} (give {_allowed(schema)})"
        case "not":
            return f"does not belong here ({schema['description']})"
    if value in ("", [], {}):
        return "is empty (fill it in)"
    return LIMITS[refused.keyword].format(wanted)


def _shown(value: object) -> str:
    return "empty" if value is None else repr(value)


def _allowed(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return f"one of {', '.join(schema['enum'])}"
    if "const" in schema:
        return schema["const"] if isinstance(schema["const"], str) else json.dumps(schema["const"])
    return f"one{_such_as(schema)}" if "examples" in schema else f"what matches {schema['pattern']}"


def _kind(value: object) -> str:
    """Return what the YAML value *value* is called."""
    if isinstance(value, bool):
        return str(value).lower()
    names = {str: "a text", list: "a list", dict: "a mapping", int: "a number", float: "a number"}
    return names.get(type(value), "empty")


def _types(wanted: str | Sequence[str]) -> str:
    return " or ".join(_TYPES[name] for name in ([wanted] if isinstance(wanted, str) else wanted))


def _such_as(schema: Mapping[str, Any]) -> str:
    examples = [text for text in schema.get("examples", ()) if isinstance(text, str)]
    return f" such as {', '.join(examples)}" if examples else ""


def _meaning(refused: _Refused, key: str) -> str:
    """Return the first sentence on the missing *key*, else why the schema asks for it."""
    described = refused.schema.get("properties", {}).get(key, refused.schema)
    if "description" not in described:
        described = refused.root["$defs"][described["$ref"].rpartition("/")[2]]
    sentence = described["description"].partition(". ")[0].rstrip(".")
    return f"{sentence[:1].lower()}{sentence[1:]}"


def _name(steps: Sequence[KeyOrIndex]) -> str:
    """Return a place as a reader of YAML writes it, such as ``mailvigil.entities[0].type``."""
    parts = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    return "".join(parts).removeprefix(".") or "the document"
