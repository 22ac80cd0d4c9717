"""The connector: read the Management Activity feed, keep a ledger of each blob, deliver rows."""
