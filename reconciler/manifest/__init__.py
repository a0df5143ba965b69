"""The manifest: YAML to `core.wanted.Wanted` and back, with a place for every problem."""

from reconciler.manifest.load import Loaded, load, load_file, load_folder, load_many
from reconciler.manifest.problems import ManifestError, Problem, Severity

__all__ = ["Loaded", "ManifestError", "Problem", "Severity", "load", "load_file", "load_folder", "load_many"]
