"""The demonstration: a made-up tenant, an intrusion like Storm-0558's, and who finds it."""
