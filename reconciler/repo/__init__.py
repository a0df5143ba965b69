"""EDGE: reads manifests from Git objects, never from a work tree. Imports core only."""
