"""EDGE: performs a plan: re-checks, submits, waits, journals. See run.Executor."""
