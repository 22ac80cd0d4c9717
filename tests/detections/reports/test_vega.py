"""The scripts of the charts are those that npm has, unchanged."""

from __future__ import annotations

import json
from hashlib import sha256
from importlib.resources import files

from mailvigil.reports.vega import SCRIPTS, scripts

FOLDER = files("mailvigil.reports") / "vega_scripts"


def test_each_script_is_the_file_that_its_source_names() -> None:
    sources = json.loads((FOLDER / "sources.json").read_text(encoding="utf-8"))

    assert set(sources) == set(SCRIPTS)
    for name, source in sources.items():
        assert sha256((FOLDER / name).read_bytes()).hexdigest() == source["sha256"]


def test_the_scripts_come_in_the_order_in_which_they_load() -> None:
    vega, lite, embed = scripts()

    assert "vega-lite" in lite
    assert "vegaEmbed" in embed
    assert max(len(vega), len(lite), len(embed)) == len(vega)
