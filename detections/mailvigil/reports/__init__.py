"""Reports of a hunt: evidence gathered from the workspace, and its forms for people and tools."""
