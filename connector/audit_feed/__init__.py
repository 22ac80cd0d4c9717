"""The connector core: audit records in, table rows out."""
