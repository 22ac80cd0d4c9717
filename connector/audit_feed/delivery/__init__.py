"""List what is due, deliver what is listed, and send rows to the workspace."""
