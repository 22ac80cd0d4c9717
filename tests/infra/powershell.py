"""PowerShell scripts, read by a parser: where the tests run there may be no PowerShell."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import tree_sitter_powershell
from tree_sitter import Language, Node, Parser

GUARD = "$PSCmdlet.ShouldProcess("
CHANGING = ("Set-", "New-", "Remove-", "Add-", "Export-", "Invoke-", "Enable-", "Disable-")
HARMLESS = frozenset({"Set-StrictMode"})

_POWERSHELL = Parser(Language(tree_sitter_powershell.language()))


@dataclass(frozen=True, slots=True)
class Command:
    """One command: its name, its words after it, its line, and whether -WhatIf keeps it back."""

    name: str
    words: tuple[str, ...]
    line: int
    guarded: bool


def parse(text: str) -> Node:
    """Return the script's tree.

    Raises:
        SyntaxError: It is not PowerShell that the parser knows; the line is named.

    """
    root = _POWERSHELL.parse(text.encode()).root_node
    wrong = [node for node in walk(root) if node.is_error or node.is_missing]
    if wrong:
        raise SyntaxError(f"line {wrong[0].start_point.row + 1}: not understood")
    return root


def walk(node: Node) -> Iterator[Node]:
    """Yield *node* and everything below it."""
    yield node
    for child in node.children:
        yield from walk(child)


def text_of(node: Node | None) -> str:
    """Return the node's text, ``""`` for none."""
    return node.text.decode() if node is not None and node.text is not None else ""


def functions(root: Node) -> dict[str, Node]:
    """Return the script's functions by name."""
    found = [node for node in walk(root) if node.type == "function_statement"]
    return {text_of(_child(node, "function_name")): node for node in found}


def commands(root: Node) -> list[Command]:
    """Return every command of the script, in order."""
    return [_command(node) for node in walk(root) if node.type == "command"]


def unguarded(root: Node) -> list[str]:
    """Return each command that changes something although -WhatIf was given: ``line: name``.

    A function of the script may change things itself: what is in it is looked at instead.
    """
    own = functions(root)
    return [
        f"{command.line}: {command.name}"
        for command in commands(root)
        if changes(command) and command.name not in own and not command.guarded
    ]


def changes(command: Command) -> bool:
    """Tell whether a command may change something outside of the script."""
    return command.name not in HARMLESS and command.name.startswith(CHANGING)


def _command(node: Node) -> Command:
    words = text_of(_child(node, "command_elements")).split()
    name = text_of(_child(node, "command_name"))
    return Command(name, tuple(words), node.start_point.row + 1, _is_guarded(node))


def _is_guarded(node: Node) -> bool:
    """Tell whether the node stands in the block of an ``if`` that asks ShouldProcess."""
    above = node.parent
    while above is not None:
        if above.type in {"if_statement", "elseif_clause"}:
            condition, block = _child(above, "pipeline"), _child(above, "statement_block")
            inside = block is not None and block.start_byte <= node.start_byte < block.end_byte
            if inside and text_of(condition).startswith(GUARD):
                return True
        above = above.parent
    return False


def _child(node: Node, kind: str) -> Node | None:
    return next((child for child in node.children if child.type == kind), None)
