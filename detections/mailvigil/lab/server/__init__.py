"""Microsoft's services of the pipeline, simulated by one process on loopback."""
