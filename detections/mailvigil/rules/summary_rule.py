"""Summary rules: queries that Log Analytics runs over each day's rows of a table, bin by bin.

They write what the analytics rules cannot see for themselves: what was there longer than 14 days
ago. Their form is Sentinel's YAML with the names of the service's ``ruleDefinition``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from mailvigil.errors import RuleError
from mailvigil.rules.attributes import KQL_NAME, Attributes
from mailvigil.rules.parsed import Parsed, parse_files
from mailvigil.rules.sentinel_yaml import sentinel_form

_KEYS = frozenset(
    {
        "id",
        "name",
        "version",
        "description",
        "binSize",
        "binDelay",
        "destinationTable",
        "query",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryRule:
    """One summary rule. ``bin_size`` and ``bin_delay`` are in minutes, as in the service.

    ``query`` begins with a line that is the name of the table whose rows it reads.
    """

    name: str
    path: Path
    id: str
    title: str
    description: str
    version: str
    bin_size: int
    bin_delay: int
    destination: str
    query: str

    @property
    def table(self) -> str:
        """The table that it reads."""
        return self.query.partition("\n")[0]

    @property
    def sources(self) -> tuple[str, ...]:
        """The table that it reads, as that on which it is tested."""
        return (self.table,)

    def of_bin(self, lateness: timedelta = timedelta()) -> str:
        """Return the query over the bin that is due when ``now()`` is *lateness* ago.

        The service cuts the bin out itself; here the query says what it would see.
        """
        end = lateness + timedelta(minutes=self.bin_delay)
        start = end + timedelta(minutes=self.bin_size)
        begins, ends = (f"{length // timedelta(minutes=1)}m" for length in (start, end))
        _, _, rest = self.query.partition("\n")
        where = f"| where TimeGenerated >= ago({begins}) and TimeGenerated < ago({ends})"
        return f"{self.table}\n{where}\n{rest}"


def load_summary_rules(root: Path) -> tuple[SummaryRule, ...]:
    """Return the rules below ``kql/summary``, by name.

    Raises:
        RuleError: One or more files are not summary rules; it names all problems of all files.

    """
    return parsed_summary_rules(root).whole()


def parsed_summary_rules(root: Path) -> Parsed[SummaryRule]:
    """Return the rules that can be parsed, by name, and the problems of the other files."""
    return parse_files((root / "kql" / "summary").glob("*"), ".yaml", parse_summary_rule)


def parse_summary_rule(path: Path, text: str) -> SummaryRule:
    """Return the rule that *text* says; *path* is only for its name and for messages.

    Raises:
        RuleError: It is not such a rule, or an attribute is missing, wrong or not known.

    """
    data = sentinel_form(path, text)
    read = Attributes(path, data)
    for key in sorted(set(map(str, data)) - _KEYS):
        read.problem(f"unknown key {key} (there are {', '.join(sorted(_KEYS))})")
    rule = SummaryRule(
        name=path.stem,
        path=path,
        id=read.text("id"),
        title=read.text("name"),
        description=read.text("description").strip(),
        version=read.text("version"),
        bin_size=read.number("binSize"),
        bin_delay=read.number("binDelay"),
        destination=read.text("destinationTable"),
        query=read.text("query"),
    )
    if rule.query and not KQL_NAME.fullmatch(rule.table):
        read.problem("the first line of query is not a table alone (write one table there)")
    if read.problems:
        raise RuleError(read.problems)
    return rule
