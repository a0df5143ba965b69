"""pydantic's errors as Problems: its `loc` finds the place, its type the words. No input value passes unless it is
known not to be a secret."""

from __future__ import annotations

import typing
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from reconciler.manifest.problems import Problem, did_you_mean, listing, quoted, same_letters
from reconciler.manifest.reader import Document, Path

_SECRET_KEYS = frozenset({"password", "secrets", "options"})
_KIND_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "a block",
}
_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a block of keys",
    "model_type": "a block of keys",
    "model_attributes_type": "a block of keys",
}


def explain(error: ValidationError, doc: Document, model: type[BaseModel]) -> list[Problem]:
    """One Problem for each error, save for keys whose missing value was reported by the reader."""
    found = (_explain(detail, doc, model) for detail in error.errors(include_url=False, include_input=False))
    return [problem for problem in found if problem is not None]


def _explain(detail: ErrorDetails, doc: Document, model: type[BaseModel]) -> Problem | None:
    path: Path = tuple(detail["loc"])
    kind, context = detail["type"], detail.get("ctx", {})
    key = str(next((step for step in reversed(path) if isinstance(step, str)), "the file"))
    if kind == "missing":
        return _missing(doc, path, key, model)
    if kind == "extra_forbidden":
        return _unknown(doc, path, key, model)
    place, node = doc.place(path), doc.find(path)
    shown = quoted(key)
    is_scalar = node.members is None and node.items is None
    if is_scalar and not _SECRET_KEYS.intersection(path):
        shown = f"{quoted(key)} {quoted(node.text)}" if node.text else f"{quoted(key)}, which is empty"
    if kind == "xenrec":
        given = str(context["what"])
        if context.get("key"):
            place = doc.place((*path, str(context["key"])), key=True)
        return Problem(place, given if "`" in given else shown, str(context["why"]), str(context["remedy"]))
    if kind == "literal_error":
        words = [word.strip().strip("'") for word in str(context["expected"]).replace(" or ", ", ").split(",")]
        words = [word.lower() if word in ("True", "False") else word for word in words]
        meant = did_you_mean(node.text, words) if is_scalar else None
        remedy = f"Did you mean `{meant}`?" if meant else f"Write {listing(words)}."
        return Problem(place, shown, "it is not one of the words known here", remedy)
    if kind in _EXPECTED:
        return _wrong_type(doc, path, shown, _EXPECTED[kind])
    if kind in ("greater_than_equal", "less_than_equal"):
        bound = context.get("ge", context.get("le"))
        word = "least" if kind == "greater_than_equal" else "most"
        return Problem(place, shown, "it is out of range", f"Write a whole number of at {word} {bound}.")
    if kind == "too_short":
        field = _field(model, path)
        unset = f", or remove {quoted(key)}" if field is not None and not field.is_required() else ""
        return Problem(place, shown, "the list is empty", f"List at least one{unset}.")
    return Problem(place, shown, detail["msg"], "See docs/manifest.md.")


def _missing(doc: Document, path: Path, key: str, model: type[BaseModel]) -> Problem | None:
    parent = doc.find(path[:-1])
    if parent.nulls and key in parent.nulls:
        return None
    field = _field(model, path)
    meaning = f" ({_sentence(field.description)})" if field and field.description else ""
    return Problem(
        doc.place(path[:-1], key=True),
        f"{quoted(key)} is missing",
        "it is needed",
        f"Add {quoted(key + ':')}{meaning}.",
    )


def _unknown(doc: Document, path: Path, key: str, model: type[BaseModel]) -> Problem:
    owner = _model_at(model, path[:-1])
    known = [f.alias or name for name, f in owner.model_fields.items()] if owner else []
    homes = [(where, same_letters(key, keys)) for where, keys in _all_keys(model).items()]
    elsewhere = [f"{quoted(f'{where}.{word}')}" for where, word in homes if word is not None]
    meant = same_letters(key, known) or (None if elsewhere else did_you_mean(key, known))
    if meant:
        remedy = f"Did you mean {quoted(meant)}?"
    elif elsewhere:
        remedy = f"Did you mean {listing(elsewhere)}?"
    else:
        remedy = f"Remove it; known here: {listing(known, 'and', 20)}."
    where = next((quoted(str(step)) for step in reversed(path[:-1]) if isinstance(step, str)), "the file")
    return Problem(doc.place(path, key=True), f"unknown key {quoted(key)}", f"{where} has no such key", remedy)


def _wrong_type(doc: Document, path: Path, shown: str, expected: str) -> Problem:
    node = doc.find(path)
    given = _KIND_WORDS.get(type(node.value), "something else")
    remedy = f"Write {expected}."
    if expected == "text" and node.text and not _SECRET_KEYS.intersection(path):
        remedy = f'Put it in quotes: "{node.text[:60]}".'
    elif expected == "text" and node.text:
        remedy = "Put it in quotes."
    elif expected == "a list" and node.text:
        remedy = (
            f"Write a list, as in `[{node.text[:60]}]`." if not _SECRET_KEYS.intersection(path) else "Write a list."
        )
    if not path:
        remedy = "Start with `apiVersion: xenrec/v1`; `xenrec export` writes a manifest from a pool."
        shown = "the file"
    return Problem(doc.place(path), shown, f"it should be {expected}, not {given}", remedy)


def _sentence(description: str) -> str:
    text = " ".join(description.split()).split(". ")[0].rstrip(".")
    return text if text[1:2].isupper() else text[0].lower() + text[1:]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in typing.get_args(annotation) for model in _models_in(part)]


def _model_at(model: type[BaseModel], path: Path) -> type[BaseModel] | None:
    """The model of the block at the path."""
    current: type[BaseModel] | None = model
    for step in path:
        if current is None:
            return None
        if isinstance(step, str):
            field = next((f for f in current.model_fields.values() if f.alias == step), None)
            if field is None:
                continue  # a key of a free mapping such as `secrets`
            inner = _models_in(field.annotation)
            current = inner[0] if inner else None
    return current


def _field(model: type[BaseModel], path: Path) -> FieldInfo | None:
    """The field that the path ends with."""
    owner = _model_at(model, path[:-1])
    return next((f for f in owner.model_fields.values() if f.alias == path[-1]), None) if owner else None


def _all_keys(model: type[BaseModel], name: str = "(top)") -> dict[str, set[str]]:
    """Every block's keys, by the key that the block stands under."""
    found: dict[str, set[str]] = {name: {f.alias or "" for f in model.model_fields.values()}}
    for field in model.model_fields.values():
        for inner in _models_in(field.annotation):
            found.update(_all_keys(inner, field.alias or name))
    return found
