"""What Azure, Entra ID and Exchange say, in ``docs/deploy.md``: each word, why, and what to do."""

from __future__ import annotations

import re

import pytest

from infra.page import PAGE
from mailvigil.tenant.steps import FEED_APP

SECTION = PAGE.partition("## When it does not work\n")[2].partition("\n## ")[0]

SAID = [
    "51021",
    "RoleAssignmentExists",
    "RoleAssignmentUpdateNotPermitted",
    "already exists in deleted state",
    "One of the tables does not exist",
    "AADSTS500011",
    "AADSTS700082",
    "InvalidOutputTable",
    "Microsoft.App",
    "the Key Vault reference was not resolved",
    "Authorization_RequestDenied",
    "Request_ResourceNotFound",
    "Enable-OrganizationCustomization",
    "243/CREDENTIALS",
    "bind source path does not exist",
]


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table below *heading* in the section."""
    below = SECTION.partition(f"### {heading}\n")[2].partition("\n### ")[0]
    lines = [line for line in below.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


@pytest.mark.parametrize("word", SAID)
def test_what_azure_says_stands_in_one_row_with_a_remedy(word: str) -> None:
    found = [row for row in rows("What Azure, Entra ID and Exchange say") if f"`{word}`" in row[0]]

    assert len(found) == 1
    [_said, why, remedy] = found[0]
    assert len(why.split()) >= 5
    assert len(remedy.split()) >= 4


def test_every_row_says_why_and_what_to_do() -> None:
    for heading in ("What Azure, Entra ID and Exchange say", "What was never run on Azure"):
        found = rows(heading)

        assert len(found) >= 8
        assert all(len(row) == 3 and all(row) for row in found)


@pytest.mark.parametrize("sign", ["synctriggers", "SKU does not support Regional VNET integration"])
def test_what_may_differ_in_a_first_run_is_said_with_what_to_do(sign: str) -> None:
    [row] = [row for row in rows("What was never run on Azure") if sign in row[1]]

    assert len(row[2].split()) >= 10


def test_the_api_that_is_made_is_the_one_that_permissions_are_of() -> None:
    assert re.findall(r"az ad sp create --id (\S+?)`", SECTION) == [FEED_APP]
