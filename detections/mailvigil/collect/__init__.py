"""The connector as a plain command: where rows go, progress, and the doctor."""
