"""KQL over a saved workspace or over exports: what ``query`` and ``shell`` run."""
