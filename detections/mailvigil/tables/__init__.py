"""The tables that rules may read, with their columns and types. Pure."""
