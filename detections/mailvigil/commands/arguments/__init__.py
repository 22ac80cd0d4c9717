"""The arguments of each command, one module each: all that help and completion load."""
