"""What a rule must pass before it ships: checks, tests, mutants, the lock, its page."""
