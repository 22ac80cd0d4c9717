"""Readers of every form in which audit logs are exported."""
