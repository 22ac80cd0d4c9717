"""What the rules catch, and how often they bother: the backtest."""
