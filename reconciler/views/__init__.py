"""Core values to text: terminal, JSON, Markdown, the xe runbook. Pure: no clock, no environment, no files."""
