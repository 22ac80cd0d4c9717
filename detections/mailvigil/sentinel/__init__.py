"""The content in the forms that Microsoft Sentinel imports, and what Sentinel allows."""
