"""What a rule is: Sigma rules, KQL rules, correlations, filters, hunting queries, names of apps."""
