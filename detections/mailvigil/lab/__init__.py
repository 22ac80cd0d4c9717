"""A made-up tenant, and a server on loopback that plays Microsoft's side of the pipeline."""
