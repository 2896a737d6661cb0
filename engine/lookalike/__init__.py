"""Look-alikes: the people outside who are most like some customers, by what is known of both.

A prospect has bought nothing yet, so purchases cannot be compared; age, income, household or region can.
:func:`find_lookalikes` ranks prospects by how typical their values are of the *seeds* (the customers one wants more
of), says what each of them shares with the seeds, and measures on held-out people whether the ranking means anything.
"""

from engine.lookalike.find import Lookalikes, find_lookalikes

__all__ = ["Lookalikes", "find_lookalikes"]
