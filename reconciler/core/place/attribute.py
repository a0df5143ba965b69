"""Why each move of an answer is made: for a wish of the VM itself, or for the room that another needs."""

from __future__ import annotations

from dataclasses import replace

from reconciler.core.place.problem import Answer, Cause, Move, Problem
from reconciler.core.place.world import World


def attributed(problem: Problem, answer: Answer) -> Answer:
    """The answer with the cause of each move, and for whom room is made: who comes next to the host that it leaves,
    or for whom that one makes room in turn."""
    world = World(problem)
    told: list[Move] = []
    for number, move in reversed(list(enumerate(answer.moves))):
        if not world.content(move.item) or _follows_its_group(problem, answer, move):
            told.append(replace(move, cause=Cause.WISH, beneficiary=None))
            continue
        told.append(replace(move, cause=Cause.ROOM, beneficiary=_next(answer, number, told)))
    return replace(answer, moves=tuple(reversed(told)))


def _follows_its_group(problem: Problem, answer: Answer, move: Move) -> bool:
    group = problem.items[move.item].together
    mates = [m for m in answer.moves if m.item != move.item and problem.items[m.item].together == group]
    return bool(group) and any(m.target == move.target for m in mates)


def _next(answer: Answer, number: int, later: list[Move]) -> int | None:
    """Who comes to the host that a move leaves; `later` are the moves after it, the last first."""
    source = answer.moves[number].source
    for move in reversed(later):
        if move.target == source and move.item != answer.moves[number].item:
            return move.beneficiary if move.cause is Cause.ROOM else move.item
    return next((index for index, host in answer.starts if host == source), None)
