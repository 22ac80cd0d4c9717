"""Run every rule over exported logs, evaluation by evaluation, and merge alerts into findings."""
