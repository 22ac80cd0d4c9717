"""A made-up tenant to try everything on."""
