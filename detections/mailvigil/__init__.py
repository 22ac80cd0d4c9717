"""The rule workbench and the hunt."""
