"""Every generated file, to the byte: no time and no version is in them."""

from __future__ import annotations

import json
from collections.abc import Mapping

from mailvigil.errors import RuleError
from mailvigil.infra.connector_page import connector_template
from mailvigil.infra.content_templates import content_template, rules_template
from mailvigil.infra.form import form
from mailvigil.infra.problems import CASES_OF, COLLECTOR, CONTENT, PAGE, RULES, template_problems
from mailvigil.infra.template import collector_template, example_parameters
from mailvigil.infra.type_check import TypeCheck
from mailvigil.sentinel.compiled_content import Pack
from mailvigil.sentinel.package_layout import as_json

EXAMPLE = "azuredeploy.parameters.example.json"
FORM = "createUiDefinition.json"


def files(pack: Pack) -> Mapping[str, bytes]:
    """Return each file by its name."""
    return {
        COLLECTOR: as_json(collector_template()),
        CONTENT: as_json(content_template(pack)),
        RULES: as_json(rules_template(pack)),
        EXAMPLE: as_json(example_parameters()),
        FORM: as_json(form()),
        PAGE: as_json(connector_template(pack)),
    }


def checked_files(pack: Pack, types: TypeCheck | None = None) -> Mapping[str, bytes]:
    """Return each file by its name, the templates evaluated for every case.

    *types* counts what was held against Azure's own types, and keeps the warnings.

    Raises:
        RuleError: One would not deploy in one of them.

    """
    made = files(pack)
    problems = [
        f"{name}: {problem}"
        for name, cases in CASES_OF.items()
        for problem in template_problems(json.loads(made[name]), cases, types)
    ]
    if problems:
        raise RuleError(problems)
    return made
