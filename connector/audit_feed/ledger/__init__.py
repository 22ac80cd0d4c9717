"""What became of every blob and of every hour: states, the statement, and the two stores."""
