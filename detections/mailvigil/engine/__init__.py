"""The embedded workspace and the engine that runs KQL on it."""
