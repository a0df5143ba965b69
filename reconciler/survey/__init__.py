"""EDGE: asks every witness in parallel, each question with a hard deadline."""
