"""Where the content is: rules, pipelines and KQL functions, shipped or of a checkout."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from mailvigil.errors import RuleError

PACKAGE = Path(__file__).resolve().parents[1]

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's where PyYAML has it: the loader written in Python takes seconds for the whole pack."""


@dataclass(frozen=True, slots=True)
class Function:
    """A stored KQL function of the content, from Sentinel's parser YAML form.

    ``line`` is where the body starts in the file, for messages that name a place.
    """

    name: str
    body: str
    path: Path
    line: int


def content_root() -> Path:
    """Return the folder that holds ``sigma/`` and ``kql/``: the wheel's, else the checkout's."""
    shipped = PACKAGE / "content"
    return shipped if shipped.is_dir() else PACKAGE.parents[1]


def load_functions(root: Path) -> tuple[Function, ...]:
    """Return the functions below ``kql/functions``, by name.

    Raises:
        RuleError: A file is not in Sentinel's parser form.

    """
    return functions_in(root / "kql" / "functions")


def functions_in(folder: Path) -> tuple[Function, ...]:
    """Return the functions whose parser YAML is in *folder*, by name.

    Raises:
        RuleError: A file is not in Sentinel's parser form.

    """
    return tuple(_function(path) for path in sorted(folder.glob("*.yaml")))


def from_yaml(text: str) -> object:
    """Return what a YAML file of the content says.

    Raises:
        yaml.YAMLError: It is not YAML.

    """
    value: object = yaml.load(text, Loader=_LOADER)  # noqa: S506 - a safe loader in both cases
    return value


def from_yaml_documents(text: str) -> list[dict[str, object]]:
    """Return the documents of a YAML file of the content, but for empty ones.

    Raises:
        yaml.YAMLError: It is not YAML.
        TypeError: There is none, or one is not a mapping.

    """
    documents = [d for d in yaml.load_all(text, Loader=_LOADER) if d is not None]
    if not documents or not all(isinstance(document, dict) for document in documents):
        raise TypeError("not a mapping of names to values")
    return documents


def not_yaml(path: Path, error: yaml.YAMLError) -> RuleError:
    """Return the error that says in one line where the file *path* is not YAML."""
    mark = getattr(error, "problem_mark", None)
    place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
    what = getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be read"
    return RuleError([f"{path}{place}: is not YAML: {what} (correct it)"])


def _function(path: Path) -> Function:
    try:
        text = path.read_text(encoding="utf-8")
        data = from_yaml(text)
        if not isinstance(data, dict):
            raise TypeError("not a mapping of names to values")  # noqa: TRY301 - one way out
        name, body = str(data["FunctionName"]), str(data["FunctionQuery"])
    except yaml.YAMLError as error:
        raise not_yaml(path, error) from error
    except (OSError, UnicodeDecodeError, KeyError, TypeError) as error:
        what = f"not a KQL function in Sentinel's parser form: {error}"
        raise RuleError([f"{path}: {what}"]) from error
    head = text[: text.index("FunctionQuery:")]
    return Function(name, body, path, head.count("\n") + 2)
