"""EDGE: asks every witness in parallel, each question with a hard deadline."""

from reconciler.survey.survey import survey

__all__ = ["survey"]
