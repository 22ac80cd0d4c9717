"""Microsoft's side of the pipeline, played by one process on loopback."""
