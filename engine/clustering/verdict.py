"""How many segments: the evidence in a sweep weighed against what the business can use.

Two witnesses are heard. The *inertia curve*: in data without groups, inertia falls about as a power of k (as k^(-2/d)
in d dimensions), a straight line on logarithmic axes. Groups show as a break: up to their number it falls steeply,
behind it slowly. The *silhouette*: where groups are, customers lie much nearer to their own segment than to the next.
Where both point to one k within the limits, that k is clear. Otherwise nothing in the data asks for a certain number,
the limits of the business decide, and the verdict says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.clustering import verdict_words as words
from engine.clustering.trial import Trial
from engine.errors import SettingError
from engine.schema import Word

DOMINANT_SHARE = 0.95
"""A segment with more of the customers than this leaves nothing to tell the others apart by."""

BREAK_STRENGTH = 0.65
"""Least break that counts as groups.

Of 756 simulated data sets without groups (uniform, normal, correlated, one-factor, exponential, log-normal, t with 3
degrees of freedom; d from 1 to 16; 300 and 2,000 rows; k from 2 to 10), this together with the two figures below called
none clear. Of 180 sets each of 2 to 8 normal groups in 2 to 12 dimensions, 1,500 rows, standardised, the nearest two
centres 4, 5, 6 and 8 standard deviations apart, it called the right number clear in 50, 101, 129 and 153, and a wrong
one in 6, 7, 5 and 2 (neighbouring groups taken for one). ``python -m benchmarks.verdict`` prints this.
"""

CLEAR_SILHOUETTE = 0.4
"""Least silhouette at a clear k."""

SILHOUETTE_GAP = 0.1
"""How far below the best silhouette a clear k may be: the silhouette likes to join groups that are near each other."""

_AS_GOOD = 0.95
_AS_GOOD_SILHOUETTE = 0.02


@dataclass(frozen=True, slots=True)
class Verdict:
    """The number of segments, with the reason for a reader.

    Attributes
    ----------
    k : int
        The number to use.
    clear : bool
        Whether the data themselves ask for this number. False too when only one k was tried, for then nothing was
        compared.
    reason : Word
        Why this k, in words for anybody.
    evidence : Word or None
        How sharply the inertia curve breaks, with the figures and what they mean. None when too few k were tried to
        see.
    warnings : tuple of Word
        What a reader should know before using it.
    knee : int or None
        Where the inertia curve breaks; where no break is sharper than in data without groups, where it bends most.
        None when too few k were tried to see.
    knee_strength : float
        Break at the knee, 0 to 1: the part of the slope of log inertia over log k that is lost behind it. 0 is a
        straight line, 1 a curve that stops falling.
    silhouette_best : int
        k of the highest silhouette among those that could be chosen.
    limits : tuple of int
        Fewest and most segments that the business can use.
    """

    k: int
    clear: bool
    reason: Word
    evidence: Word | None
    warnings: tuple[Word, ...]
    knee: int | None
    knee_strength: float
    silhouette_best: int
    limits: tuple[int, int]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON can hold them, words in both languages."""
        return {
            "k": self.k,
            "clear": self.clear,
            "reason": self.reason.to_dict(),
            "evidence": None if self.evidence is None else self.evidence.to_dict(),
            "warnings": [warning.to_dict() for warning in self.warnings],
            "knee": self.knee,
            "knee_strength": self.knee_strength,
            "silhouette_best": self.silhouette_best,
            "limits": list(self.limits),
        }


def choose_k(trials: Sequence[Trial], *, min_segments: int, max_segments: int, min_share: float = 0.01) -> Verdict:
    """Weigh the trials of a sweep and choose the number of segments.

    Candidates lie within the limits and do not put over 95 % of customers in one segment. The trials outside count as
    evidence about the curve. The largest k tried cannot show a break, since nothing behind it was seen.

    Parameters
    ----------
    trials : sequence of Trial
        Of one matrix, in any order. A single one means that the user fixed k: it is taken, with warnings where it
        does not fit.
    min_segments, max_segments : int
        Limits of the business (``segments.min``, ``segments.max``), both included.
    min_share : float
        A smaller segment is warned about, and avoided where another k is as good; 0 to 1.

    Returns
    -------
    Verdict

    Raises
    ------
    SettingError
        No trial, impossible limits, or several trials of which none is within them.

    Notes
    -----
    The break at k is ``1 - slope after / slope before``, with the slopes of log inertia over log k. Where no break
    counts, the knee is the point of the curve (up to ``max_segments``) that lies furthest below the straight line
    between its ends, both axes scaled to 1, as in V. Satopää and others, *Finding a "Kneedle" in a Haystack* (2011).
    """
    limits = _checked_limits(trials, min_segments, max_segments, min_share)
    ordered = sorted(trials, key=lambda trial: trial.k)
    if len(ordered) == 1:
        return _only(ordered[0], limits, min_share)
    inside = [trial for trial in ordered if min_segments <= trial.k <= max_segments]
    if not inside:
        tried = ", ".join(str(trial.k) for trial in ordered)
        raise SettingError(
            f"segments.min, segments.max: expected limits that hold a k that was tried ({tried}); got {min_segments} "
            f"to {max_segments}. Change segments.min and segments.max, or clustering.k_range."
        )
    candidates = [trial for trial in inside if degenerate(trial) is None]
    if not candidates:
        return _least_degenerate(inside, limits, min_share)
    return _weighed(ordered, candidates, limits, min_share)


def degenerate(trial: Trial) -> Word | None:
    """Return what is wrong with a division that puts over 95 % of customers in one segment, or None.

    Such a division comes from features on unlike scales or with long tails: a few extreme customers against everybody
    else, which the silhouette praises. With k = 1 everybody is in one segment by request, which is not called out.
    """
    if trial.k == 1 or trial.largest_share <= DOMINANT_SHARE:
        return None
    return words.degenerate(trial.k, trial.largest_share, trial.silhouette)


def break_strengths(trials: Sequence[Trial]) -> dict[int, float]:
    """Return the break of the inertia curve at each k behind which another was tried, 0 to 1.

    The curve starts at k = 1, whose inertia is the total scatter. Where inertia reaches 0, nothing is left to fall and
    the break is 1.
    """
    ordered = sorted(trials, key=lambda trial: trial.k)
    total = ordered[0].total_scatter
    if total <= 0:
        return {}
    ks = [1, *(trial.k for trial in ordered if trial.k > 1)]
    # A worse local optimum at a larger k is no rise of the curve.
    curve = np.minimum.accumulate([total, *(trial.inertia for trial in ordered if trial.k > 1)])
    floor = total * np.finfo(np.float64).eps
    slopes = [
        math.log(max(before, floor) / max(after, floor)) / math.log(k_after / k_before)
        for before, after, k_before, k_after in zip(curve[:-1], curve[1:], ks[:-1], ks[1:], strict=True)
    ]
    after = [*slopes[1:], 0.0]
    seen = slice(None) if len(curve) > 1 and curve[-1] <= floor else slice(-1)
    return {
        k: min(max(1.0 - behind / slope, 0.0), 1.0) if slope > 0 else 0.0
        for k, slope, behind in list(zip(ks[1:], slopes, after, strict=True))[seen]
    }


def _bends(trials: Sequence[Trial]) -> dict[int, float]:
    """Return how far each k lies below the line between the ends of the inertia curve, as drawn on unit axes."""
    ks = np.array([trial.k for trial in trials], dtype=np.float64)
    curve = np.array([trial.inertia for trial in trials])
    width, height = ks[-1] - ks[0], curve[0] - curve[-1]
    if width <= 0 or height <= 0:
        return {}
    below = 1.0 - (ks - ks[0]) / width - (curve - curve[-1]) / height
    return {trial.k: float(depth) for trial, depth in zip(trials, below, strict=True) if depth > 1e-9}


def _weighed(
    ordered: Sequence[Trial], candidates: Sequence[Trial], limits: tuple[int, int], min_share: float
) -> Verdict:
    by_k = {trial.k: trial for trial in ordered}
    strengths = break_strengths(ordered)
    best = max(candidates, key=_width)
    eligible = {trial.k for trial in candidates}
    breaks = {k: strength for k, strength in strengths.items() if k in eligible and strength >= BREAK_STRENGTH}
    bends = {
        k: depth for k, depth in _bends([trial for trial in ordered if trial.k <= limits[1]]).items() if k in eligible
    }
    merits = breaks or bends
    knee = max(merits, key=lambda k: (merits[k], -k)) if merits else None
    chosen = best.k if knee is None else _large_enough(knee, merits, by_k, min_share)
    trial = by_k[chosen]
    clear = chosen in breaks and _silhouette_agrees(trial, best, ordered)
    warnings = [
        *_out_of_line(ordered, strengths, trial, limits),
        *_small(trial, min_share),
    ]
    if best.k == ordered[-1].k < limits[1] and not clear:
        warnings.append(words.best_at_the_end(best.k))
    if clear:
        reason = words.clear(chosen)
    else:
        silhouette = None if best.silhouette is None else best.k
        if len(candidates) == 1:
            how, silhouette = words.HOW_ONLY, None
        elif knee is None:
            how, silhouette = words.HOW_SILHOUETTE, None
        elif chosen != knee:
            how = words.how_instead(knee, by_k[knee].smallest_share)
        else:
            how = words.HOW_BREAK if breaks else words.HOW_BEND
        why = words.TOO_FEW if strengths.keys().isdisjoint(eligible) else words.NO_BREAK
        if knee in breaks:
            why = words.not_confirmed(knee)
        inside = [one.k for one in ordered if limits[0] <= one.k <= limits[1]]
        reason = words.not_clear(why, chosen, limits, (inside[0], inside[-1]), how, silhouette)
    return Verdict(
        k=chosen,
        clear=clear,
        reason=reason,
        evidence=_evidence(strengths, by_k, chosen if clear else None, eligible),
        warnings=tuple(warnings),
        knee=knee,
        knee_strength=strengths.get(knee, 0.0) if knee is not None else 0.0,
        silhouette_best=best.k,
        limits=limits,
    )


def _evidence(
    strengths: Mapping[int, float], by_k: Mapping[int, Trial], clear: int | None, eligible: Set[int]
) -> Word | None:
    """Explain the break at the clear k, or else the sharpest one among the candidates."""
    seen = [k for k in strengths if k in eligible]
    if not seen:
        return None
    k = max(seen, key=lambda one: (strengths[one], -one)) if clear is None else clear
    counts = strengths[k] >= BREAK_STRENGTH
    return words.evidence(k, strengths[k], BREAK_STRENGTH, by_k[k].silhouette if counts else None)


def _silhouette_agrees(trial: Trial, best: Trial, ordered: Sequence[Trial]) -> bool:
    width = _width(trial)
    behind = [_width(other) for other in ordered if other.k > trial.k]
    falls = not behind or behind[0] < width
    return falls and width >= CLEAR_SILHOUETTE and width >= _width(best) - SILHOUETTE_GAP


def _large_enough(knee: int, merits: Mapping[int, float], by_k: Mapping[int, Trial], min_share: float) -> int:
    """Return the knee, or a k as good whose segments are all large enough where the knee's are not."""
    if by_k[knee].smallest_share >= min_share:
        return knee
    as_good = [
        k
        for k, merit in merits.items()
        if merit >= _AS_GOOD * merits[knee]
        and _width(by_k[k]) >= _width(by_k[knee]) - _AS_GOOD_SILHOUETTE
        and by_k[k].smallest_share >= min_share
    ]
    return max(as_good, key=lambda k: (merits[k], -k), default=knee)


def _out_of_line(
    ordered: Sequence[Trial], strengths: Mapping[int, float], chosen: Trial, limits: tuple[int, int]
) -> list[Word]:
    found = []
    bad = [trial for trial in ordered if degenerate(trial) is not None]
    if bad:
        found.append(words.passed_over([trial.k for trial in bad], max(trial.largest_share for trial in bad)))
    outside = [
        trial
        for trial in ordered
        if not limits[0] <= trial.k <= limits[1]
        and degenerate(trial) is None
        and strengths.get(trial.k, 0.0) >= max(BREAK_STRENGTH, strengths.get(chosen.k, 0.0))
        and _silhouette_agrees(trial, chosen, ordered)
    ]
    if outside:
        sharpest = max(outside, key=lambda trial: strengths[trial.k])
        found.append(words.clearer_outside(sharpest.k, limits))
    return found


def _small(trial: Trial, min_share: float) -> list[Word]:
    return [words.small_segment(trial.smallest_share, min_share)] if trial.smallest_share < min_share else []


def _only(trial: Trial, limits: tuple[int, int], min_share: float) -> Verdict:
    warnings = _small(trial, min_share)
    dominated = degenerate(trial)
    if dominated is not None:
        warnings.insert(0, dominated)
    if not limits[0] <= trial.k <= limits[1]:
        warnings.append(words.outside_limits(trial.k, limits))
    return Verdict(
        k=trial.k,
        clear=False,
        reason=words.only(trial.k),
        evidence=None,
        warnings=tuple(warnings),
        knee=None,
        knee_strength=0.0,
        silhouette_best=trial.k,
        limits=limits,
    )


def _least_degenerate(inside: Sequence[Trial], limits: tuple[int, int], min_share: float) -> Verdict:
    trial = min(inside, key=lambda one: (one.largest_share, one.k))
    dominated = words.degenerate(trial.k, trial.largest_share, trial.silhouette)
    return Verdict(
        k=trial.k,
        clear=False,
        reason=words.all_degenerate(trial.k, trial.largest_share, limits),
        evidence=None,
        warnings=(dominated, *_small(trial, min_share)),
        knee=None,
        knee_strength=0.0,
        silhouette_best=max(inside, key=_width).k,
        limits=limits,
    )


def _width(trial: Trial) -> float:
    return -1.0 if trial.silhouette is None else trial.silhouette


def _checked_limits(trials: Sequence[Trial], min_segments: int, max_segments: int, min_share: float) -> tuple[int, int]:
    if not trials:
        raise SettingError("clustering.k: expected at least one trial to choose from; got none.")
    if not 1 <= min_segments <= max_segments:
        raise SettingError(
            f"segments.min, segments.max: expected 1 <= segments.min <= segments.max; "
            f"got {min_segments} and {max_segments}."
        )
    if not 0 <= min_share <= 1:
        raise SettingError(f"segments.min_share: expected a share from 0 to 1; got {min_share}.")
    return min_segments, max_segments
