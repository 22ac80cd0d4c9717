"""Where the content is: rules, pipelines and KQL functions, shipped or of a checkout."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mailvigil.errors import RuleError
from mailvigil.yaml_input import YamlError, load_yaml

PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Function:
    """A stored KQL function of the content, from Sentinel's parser YAML form.

    ``line`` is where the body starts in the file, for messages that name a place. ``parameters``
    is in the service's form: ``name:type=default`` with commas between, or empty.
    """

    name: str
    body: str
    path: Path
    line: int
    parameters: str = ""

    @property
    def lets(self) -> str:
        """Return statements that give the parameters their defaults, one a line."""
        declared = [text.partition(":") for text in self.parameters.split(",") if text]
        values = [(name, rest.partition("=")) for name, _, rest in declared]
        return "".join(f"let {name} = {v or f'{kind}(null)'};\n" for name, (kind, _, v) in values)

    @property
    def query(self) -> str:
        """Return the body as a query of its own, with the parameters at their defaults."""
        return self.lets + self.body


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


def not_yaml(path: Path, error: YamlError) -> RuleError:
    """Return the error that says in one line where the file *path* is not YAML."""
    place = f":{error.line}:{error.column}" if error.line else ""
    return RuleError([f"{path}{place}: is not YAML: {error.what} (correct it)"])


def _function(path: Path) -> Function:
    try:
        text = path.read_text(encoding="utf-8")
        data = load_yaml(text)
        if not isinstance(data, dict):
            raise TypeError("not a mapping of names to values")  # noqa: TRY301 - one way out
        name, body = str(data["FunctionName"]), str(data["FunctionQuery"])
        parameters = _parameters(data.get("FunctionParams", []))
    except YamlError as error:
        raise not_yaml(path, error) from error
    except (OSError, UnicodeDecodeError, KeyError, TypeError) as error:
        what = f"not a KQL function in Sentinel's parser form: {error}"
        raise RuleError([f"{path}: {what}"]) from error
    head = text.partition("FunctionQuery")[0]
    return Function(name, body, path, head.count("\n") + 2, parameters)


def _parameters(given: list[dict[str, str]]) -> str:
    texts = []
    for declaration in given:
        default = f"={declaration['Default']}" if "Default" in declaration else ""
        texts.append(f"{declaration['Name']}:{declaration['Type']}{default}")
    return ",".join(texts)
