"""From a rule to KQL: Sigma, correlations and first seen, for each place where it runs."""
