"""The templates that deploy mailvigil to Azure, built from tables, settings and content."""
