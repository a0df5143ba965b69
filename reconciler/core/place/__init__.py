"""Where VMs go, as a problem of numbers: hosts with room, VMs with sizes and wishes. Pure, and the same answer for the
same input in any order.

`problem.py` says what is asked and what an answer is worth, `world.py` replays an answer, `greedy.py` finds a good one
in any pool, `exact.py` the best one in a small pool, `reserve.py` what the loss of hosts would leave down, `solve.py`
is the front door. `ask.py` asks a solver that comes from outside, and believes what it can replay.
"""
