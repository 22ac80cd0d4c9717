"""ARM expressions: what resolves, resolves to what a deployment gives; the rest is refused."""

from __future__ import annotations

import pytest

from mailvigil.sentinel.arm import literal
from mailvigil.sentinel.expressions import GROUP, ExpressionError, Scope

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
        (
            "[resourceId('Microsoft.OperationalInsights/workspaces', parameters('workspace'))]",
            f"{GROUP}/providers/Microsoft.OperationalInsights/workspaces/law",
        ),
    ],
)
def test_an_expression_has_another_value(text: str, wanted: object) -> None:
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
    ],
)
def test_a_broken_expression_resolves(text: str, message: str) -> None:
    if text == "[concat('a'":  # without its end it is a plain text, to ARM as well
        assert value(text) == message
        return
    with pytest.raises(ExpressionError) as caught:
        value(text)

    assert message in str(caught.value)


def test_a_variable_that_stands_for_itself_never_ends() -> None:
    scope = Scope({}, {"a": "[variables('b')]", "b": "[variables('a')]"})

    with pytest.raises(ExpressionError, match="stands for itself"):
        scope.evaluate("[variables('a')]")


def test_a_unique_string_differs_from_run_to_run() -> None:
    assert value("[uniqueString('a', 'b')]") == value("[uniqueString('a', 'b')]")
    assert value("[uniqueString('a', 'b')]") != value("[uniqueString('a', 'c')]")


@pytest.mark.parametrize("text", ["[a]", "[a", "a]", "[[a]", "a"])
def test_a_plain_text_is_taken_for_an_expression(text: str) -> None:
    assert value(literal(text)) == text
