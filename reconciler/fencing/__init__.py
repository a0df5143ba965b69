"""EDGE: runs fence agents and reads power back. Imports core only."""
