"""ARM expressions: what resolves, resolves to what a deployment gives; the rest is refused."""

from __future__ import annotations

import pytest

from mailvigil.sentinel.arm import literal
from mailvigil.sentinel.arm_expressions import GROUP, ExpressionError, Scope

PARAMETERS = {"workspace": "law", "Names": ["a", "b"]}
VARIABLES = {"o": {"k": "v"}}


def value(text: str) -> object:
    found: object = Scope(PARAMETERS, VARIABLES).evaluate(text)
    return found


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("plain", "plain"),
        ("[[not one]", "[not one]"),
        ("[open", "[open"),
        ("[[open", "[[open"),
        ("[concat(parameters('workspace'), '/it''s')]", "law/it's"),
        ("[parameters('names')[1]]", "b"),
        ("[variables('o').k]", "v"),
        ("[last(split('a/b', '/'))]", "b"),
        ("[take('abc', 2)]", "ab"),
        ("[resourceGroup().location]", "westeurope"),
        ("[if(equals(parameters('workspace'), 'law'), 'yes', parameters('names')[7])]", "yes"),
        ("[if(empty(''), null(), split(1, 2))]", None),
        ("[if(not(and(empty('a'), empty(''))), add(1, 2), 0)]", 3),
        ("[join(parameters('names'), ',')]", "a,b"),
        ("[cidrSubnet('192.0.2.0/24', 26, 1)]", "192.0.2.64/26"),
        (
            "[resourceId('soc', 'Microsoft.Web/sites', 'a')]",
            f"{GROUP.removesuffix('contoso')}soc/providers/Microsoft.Web/sites/a",
        ),
        (
            "[resourceId('one', 'soc', 'Microsoft.Web/sites', 'a')]",
            "/subscriptions/one/resourceGroups/soc/providers/Microsoft.Web/sites/a",
        ),
        (
            "[resourceId('Microsoft.OperationalInsights/workspaces', parameters('workspace'))]",
            f"{GROUP}/providers/Microsoft.OperationalInsights/workspaces/law",
        ),
    ],
)
def test_an_expression_has_its_value(text: str, wanted: object) -> None:
    assert value(text) == wanted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[parameters('nowhere')]", "parameters('nowhere'): is not declared"),
        ("[variables('o').x]", "nothing has 'x'"),
        ("[concat('a'", "[concat('a'"),
        ("[concat('a' 'b')]", "',' is missing"),
        ("[concat('a'))]", "unexpected ')'"),
        ("[concat('a]", "unexpected"),
        ("[]", "ends too early"),
        ("[nothing()]", "unknown function nothing"),
        ("[resourceId('Microsoft.Insights/workbooks')]", "needs 1 names, and has 0"),
        ("[take(5, 'a')]", "take: "),
        ("[if(empty(''), 1, parameters('nowhere'))]", "parameters('nowhere'): is not declared"),
        ("[if('true', 1, 2)]", "neither true nor false"),
        ("[if(empty(''), 1)]", "',' is missing"),
        ("[copyIndex('loop')]", "copyIndex: "),
    ],
)
def test_a_broken_expression_is_refused(text: str, message: str) -> None:
    if text == "[concat('a'":  # without its end it is a plain text, to ARM as well
        assert value(text) == message
        return
    with pytest.raises(ExpressionError) as caught:
        value(text)

    assert message in str(caught.value)


def test_a_loop_gives_its_number_of_items() -> None:
    loop = {
        "name": "rows",
        "count": "[length(parameters('names'))]",
        "input": {"n": "[copyIndex('rows')]", "name": "[parameters('names')[copyIndex('rows')]]"},
    }

    assert Scope(PARAMETERS, {}).resolve({"copy": [loop], "x": 1}) == {
        "x": 1,
        "rows": [{"n": 0, "name": "a"}, {"n": 1, "name": "b"}],
    }


def test_a_variable_that_refers_to_itself_is_refused() -> None:
    scope = Scope({}, {"a": "[variables('b')]", "b": "[variables('a')]"})

    with pytest.raises(ExpressionError, match="refers to itself"):
        scope.evaluate("[variables('a')]")


def test_a_unique_string_is_the_same_in_every_run() -> None:
    assert value("[uniqueString('a', 'b')]") == value("[uniqueString('a', 'b')]")
    assert value("[uniqueString('a', 'b')]") != value("[uniqueString('a', 'c')]")


@pytest.mark.parametrize("text", ["[a]", "[a", "a]", "[[a]", "a"])
def test_a_literal_text_keeps_its_value(text: str) -> None:
    assert value(literal(text)) == text
