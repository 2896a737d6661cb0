"""Two divisions of customers side by side: how alike they are, who moved where, and what changed in each segment.

A customer who is in both runs either stayed, which means that the segment now is the match of the segment before, or
moved. Customers of one run only are *gone* (only before) or *new* (only after).

Segments are matched one to one: those with the same id first, the others such that as many customers as possible stay.
A segment whose customers all went elsewhere, or that finds no partner because the other run has fewer, has no match.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from engine.schema import Word, check_language
from engine.segments.division import SHARES, Division, caveats
from engine.segments.migration import GONE, NEW, count_moves, join_customers, likeness, match_segments, migration_table
from engine.segments.segment import Segment

OUTSIDE = {NEW: Word("Not there before", "No estaban antes"), GONE: Word("No longer there", "Ya no están")}


@dataclass(frozen=True, slots=True)
class Change:
    """One figure before and after; ``None`` where a run has no such figure.

    Examples
    --------
    >>> change = Change(40.0, 50.0)
    >>> change.absolute, change.relative
    (10.0, 0.25)
    """

    before: float | None
    after: float | None

    @property
    def absolute(self) -> float | None:
        """``after - before``, in the figure's own unit."""
        return None if self.before is None or self.after is None else self.after - self.before

    @property
    def relative(self) -> float | None:
        """``after / before - 1``; ``None`` unless the figure was above 0."""
        if self.absolute is None or self.before is None or self.before <= 0:
            return None
        return self.absolute / self.before

    def to_dict(self) -> dict[str, float | None]:
        """Return before, after and both differences, fit for JSON."""
        return {"before": self.before, "after": self.after, "change": self.absolute, "relative_change": self.relative}


@dataclass(frozen=True, slots=True)
class Pair:
    """A segment before and the one after that it is matched to.

    Attributes
    ----------
    before, after
        The two segments.
    by_id
        Whether they have the same id; otherwise they were matched by the customers they share.
    kept
        Customers in both.
    figures
        ``customers``, ``share_customers``, ``share_monetary`` and ``<measure>_mean`` of either run.
    """

    before: Segment
    after: Segment
    by_id: bool
    kept: int
    figures: Mapping[str, Change]

    @property
    def share_kept(self) -> float:
        """Share of the segment's customers before who are in its match after, 0 to 1."""
        return self.kept / self.before.customers

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes, fit for JSON."""
        return {
            "before_segment_id": self.before.segment_id,
            "after_segment_id": self.after.segment_id,
            "matched_by": "segment_id" if self.by_id else "customers",
            "kept_customers": self.kept,
            "share_kept": self.share_kept,
            "figures": {name: change.to_dict() for name, change in self.figures.items()},
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """What :func:`compare_runs` found.

    Attributes
    ----------
    before, after
        The two runs.
    common, gone, new
        Customers in both runs, only before, only after.
    stayed
        Common customers who are in the match of their segment.
    adjusted_rand
        Likeness of the two divisions over the common customers: 1 where they are the same, about 0 where they agree
        as two random ones would, below 0 for less than that; ``None`` with fewer than two common customers.
    migration
        One row for each pair of segments, :data:`NEW` and :data:`GONE` included: ``from_segment_id, to_segment_id,
        customers, share`` (of everybody), ``share_of_from`` and ``share_of_to`` (null where nobody is).
    pairs
        Matched segments, by rank before.
    everyone
        The figures over all customers of each run.
    moved
        ``customer_id, from_segment_id, to_segment_id`` of the common customers who did not stay, by customer. It
        names persons.
    notes
        What a reader must know before believing the comparison.
    """

    before: Division
    after: Division
    common: int
    gone: int
    new: int
    stayed: int
    adjusted_rand: float | None
    migration: pl.DataFrame
    pairs: tuple[Pair, ...]
    everyone: Mapping[str, Change]
    moved: pl.DataFrame
    notes: tuple[Word, ...]

    @property
    def share_moved(self) -> float | None:
        """Share of the common customers who moved, 0 to 1; ``None`` where there are none."""
        return self.moved.height / self.common if self.common else None

    @property
    def unmatched(self) -> tuple[list[Segment], list[Segment]]:
        """Segments before and after that have no match, by rank."""
        matched = {pair.before.segment_id for pair in self.pairs}, {pair.after.segment_id for pair in self.pairs}
        ended, born = (
            [segment for segment in division.ranked if segment.segment_id not in ids]
            for division, ids in zip((self.before, self.after), matched, strict=True)
        )
        return ended, born

    def migration_table(self, language: str) -> pl.DataFrame:
        """Return the migration with the segments' names in one language."""
        return self._with_names(self.migration, language)

    def moved_table(self, language: str) -> pl.DataFrame:
        """Return the customers who moved with the segments' names in one language. It names persons."""
        return self._with_names(self.moved, language)

    def profile_table(self, language: str) -> pl.DataFrame:
        """Return the profiles side by side: a row for each pair, then for each segment without a match.

        Columns are ids, names and ranks of both, ``matched_by``, ``kept_customers``, ``share_kept``, and
        ``<figure>_before``, ``<figure>_after``, ``<figure>_change``, ``<figure>_relative_change`` for each figure.
        """
        check_language(language)
        ended, born = self.unmatched
        alone = [(one, None) for one in ended] + [(None, one) for one in born]
        rows = []
        for pair in [*self.pairs, *alone]:
            first, second = (pair.before, pair.after) if isinstance(pair, Pair) else pair
            figures = pair.figures if isinstance(pair, Pair) else _figures(self.before, first, self.after, second)
            row: dict[str, Any] = {}
            for side, segment in (("before", first), ("after", second)):
                row[f"{side}_segment_id"] = segment and segment.segment_id
                row[f"{side}_name"] = segment and segment.name.text(language)
                row[f"{side}_rank"] = segment and segment.rank
            known = pair.to_dict() if isinstance(pair, Pair) else {}
            row |= {name: known.get(name) for name in ("matched_by", "kept_customers", "share_kept")}
            for name, change in figures.items():
                row |= {f"{name}_{what}": value for what, value in change.to_dict().items()}
            rows.append(row)
        texts = ("before_segment_id", "before_name", "after_segment_id", "after_name", "matched_by")
        whole = (
            "before_rank",
            "after_rank",
            "kept_customers",
            *(f"customers_{side}" for side in ("before", "after", "change")),
        )
        types = {
            name: pl.String() if name in texts else pl.Int64() if name in whole else pl.Float64() for name in rows[0]
        }
        return pl.DataFrame(rows, schema=types)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the persons, fit for JSON."""
        ended, born = self.unmatched
        return {
            "common_customers": self.common,
            "gone_customers": self.gone,
            "new_customers": self.new,
            "stayed_customers": self.stayed,
            "moved_customers": self.moved.height,
            "share_moved": self.share_moved,
            "adjusted_rand": self.adjusted_rand,
            "before": self.before.to_dict(),
            "after": self.after.to_dict(),
            "pairs": [pair.to_dict() for pair in self.pairs],
            "without_match": {
                "before": [self._alone(segment, None) for segment in ended],
                "after": [self._alone(None, segment) for segment in born],
            },
            "everyone": {name: change.to_dict() for name, change in self.everyone.items()},
            "migration": self.migration.to_dicts(),
            "notes": [note.to_dict() for note in self.notes],
        }

    def _alone(self, first: Segment | None, second: Segment | None) -> dict[str, Any]:
        figures = _figures(self.before, first, self.after, second)
        segment = first or second
        return {
            "segment_id": segment and segment.segment_id,
            "figures": {name: change.to_dict() for name, change in figures.items()},
        }

    def _with_names(self, table: pl.DataFrame, language: str) -> pl.DataFrame:
        for column, division in (("from", self.before), ("to", self.after)):
            names = {segment.segment_id: segment.name.text(language) for segment in division.segments}
            names |= {name: word.text(language) for name, word in OUTSIDE.items()}
            ids = pl.col(f"{column}_segment_id")
            table = table.with_columns(ids.replace_strict(names, return_dtype=pl.String).alias(f"{column}_name"))
        named = ["from_segment_id", "from_name", "to_segment_id", "to_name"]
        first = [column for column in ("customer_id", *named) if column in table.columns]
        return table.select(*first, pl.exclude(first))


def compare_runs(before: Division, after: Division) -> Comparison:
    """Compare two divisions of customers into segments.

    Parameters
    ----------
    before, after
        The two runs. They may have other numbers of segments, other features and other customers.

    Raises
    ------
    DataError
        The customers' ids are numbers in one run and text in the other, a customer is there twice, or the parts of
        a run do not belong together.
    ColumnsMissingError
        A table lacks a column that is needed.

    Examples
    --------
    Four customers in two segments; one of them moves, one goes, one comes.

    >>> card = lambda key, rank, n: Segment(
    ...     key, Word(key, key), Word("", ""), Word("", ""), rank, n, n / 4, n / 4, {}, {}, ()
    ... )
    >>> def run(ids, segments):
    ...     counts = {key: segments.count(key) for key in ("seg-a", "seg-b")}
    ...     profile = pl.DataFrame(
    ...         {"segment_id": list(counts), "customers": list(counts.values()), "share_customers": [0.5, 0.5],
    ...          "share_monetary": [0.5, 0.5]}
    ...     )
    ...     cards = tuple(card(key, rank, n) for rank, (key, n) in enumerate(counts.items(), start=1))
    ...     return Division(profile, pl.DataFrame({"customer_id": ids, "segment_id": segments}), cards)
    >>> found = compare_runs(
    ...     run([1, 2, 3, 4], ["seg-a", "seg-a", "seg-b", "seg-b"]),
    ...     run([1, 2, 3, 5], ["seg-a", "seg-b", "seg-b", "seg-a"]),
    ... )
    >>> found.common, found.gone, found.new, found.stayed
    (3, 1, 1, 2)
    >>> found.moved.rows()
    [(2, 'seg-a', 'seg-b')]
    """
    before.check("before")
    after.check("after")
    both = join_customers(before.assignments, after.assignments)
    rows, columns = ([segment.segment_id for segment in run.ranked] for run in (before, after))
    counts = count_moves(both, rows, columns)
    matches = match_segments(both, rows, columns)
    match = pl.col("from_segment_id").replace_strict(matches, default=None, return_dtype=pl.String)
    common = both.drop_nulls()
    moved = common.filter(match.ne_missing(pl.col("to_segment_id"))).sort("customer_id")
    first, second = ({segment.segment_id: segment for segment in run.segments} for run in (before, after))
    pairs = [
        Pair(
            first[start],
            second[end],
            by_id=start == end,
            kept=int(counts[rows.index(start), columns.index(end)]),
            figures=_figures(before, first[start], after, second[end]),
        )
        for start, end in matches.items()
    ]
    return Comparison(
        before=before,
        after=after,
        common=common.height,
        gone=int(counts[:-1, -1].sum()),
        new=int(counts[-1, :-1].sum()),
        stayed=common.height - moved.height,
        adjusted_rand=likeness(both, rows, columns),
        migration=migration_table(counts, rows, columns),
        pairs=tuple(pairs),
        everyone=_everyone(before, after),
        moved=moved,
        notes=tuple(caveats(before, after, common.height)),
    )


def _figures(before: Division, first: Segment | None, after: Division, second: Segment | None) -> dict[str, Change]:
    """Return every figure that either run has, of a segment of each; ``None`` stands for no segment."""
    rows = [_row(before, first), _row(after, second)]
    measures = dict.fromkeys([*before.measures, *after.measures])
    return {
        name: Change(*(_number(row.get(name)) for row in rows))
        for name in [*SHARES, *(f"{measure}_mean" for measure in measures)]
    }


def _row(division: Division, segment: Segment | None) -> dict[str, Any]:
    if segment is None:
        return {}
    return division.profile.row(by_predicate=pl.col("segment_id") == segment.segment_id, named=True)


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and math.isfinite(value) else None


def _everyone(before: Division, after: Division) -> dict[str, Change]:
    measures = dict.fromkeys([*before.measures, *after.measures])
    counts = Change(*(division.assignments.height for division in (before, after)))
    means = {f"{name}_mean": Change(*(_overall(division, name) for division in (before, after))) for name in measures}
    return {"customers": counts, **means}


def _overall(division: Division, measure: str) -> float | None:
    """Return the mean over all customers who have a value, from the means of the segments."""
    if measure not in division.measures:
        return None
    lacking = f"{measure}_missing"
    known = pl.col("customers") - (pl.col(lacking) if lacking in division.profile.columns else 0)
    pairs = division.profile.select(f"{measure}_mean", known.alias("known")).drop_nulls().rows()
    total = sum(count for _, count in pairs)
    return math.fsum(mean * count for mean, count in pairs) / total if total else None
