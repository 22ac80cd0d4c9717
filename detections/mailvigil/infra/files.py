"""Every generated file, to the byte: no time and no version is in them."""

from __future__ import annotations

import json
from collections.abc import Mapping

from mailvigil.errors import RuleError
from mailvigil.infra.connector_page import connector_template
from mailvigil.infra.form import form
from mailvigil.infra.problems import template_problems
from mailvigil.infra.template import example_parameters, whole_template
from mailvigil.sentinel.compiled_content import Pack
from mailvigil.sentinel.package_layout import as_json

TEMPLATE = "azuredeploy.json"
EXAMPLE = "azuredeploy.parameters.example.json"
FORM = "createUiDefinition.json"
PAGE = "data-connector.json"


def files(pack: Pack) -> Mapping[str, bytes]:
    """Return each file by its name."""
    return {
        TEMPLATE: as_json(whole_template(pack)),
        EXAMPLE: as_json(example_parameters()),
        FORM: as_json(form()),
        PAGE: as_json(connector_template(pack)),
    }


def checked_files(pack: Pack) -> Mapping[str, bytes]:
    """Return each file by its name, the template evaluated for every case.

    Raises:
        RuleError: The template would not deploy in one of them.

    """
    made = files(pack)
    problems = tuple(template_problems(json.loads(made[TEMPLATE])))
    if problems:
        raise RuleError([f"{TEMPLATE}: {problem}" for problem in problems])
    return made
