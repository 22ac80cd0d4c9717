"""What a rule must pass before it ships: checks, tests, mutants, lock, page, backtest."""
