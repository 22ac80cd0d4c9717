"""Command lines as people type them, taken apart as a shell would."""

from __future__ import annotations

import shlex

_ENDS = {">", "2>", "|", "&&"}


def words_of(line: str) -> list[str]:
    """Return the words after ``mailvigil`` in *line*, without comment and redirections.

    >>> words_of("zcat a.gz | mailvigil hunt - > found.txt  # a comment")
    ['hunt', '-']
    """
    words = shlex.split(line, comments=True)
    after = words[words.index("mailvigil") + 1 :]
    end = next((at for at, word in enumerate(after) if word in _ENDS), len(after))
    return after[:end]
