"""Audit records of made-up tenants: ordinary life, intrusions, attacks."""
