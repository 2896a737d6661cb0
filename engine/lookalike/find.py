"""From seeds and prospects to a ranked list, what its people share with the seeds, and how far to trust it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.errors import DataError, SettingError
from engine.lookalike import words
from engine.lookalike.columns import ID, Column, LeftOut, comparable_columns
from engine.lookalike.evidence import Evidence, held_out
from engine.lookalike.levels import Codes, Levels, encode, expand
from engine.lookalike.people import People, check_people, keys
from engine.lookalike.scorecard import Scorecard, patterns, similarity
from engine.neighbours.checks import check_seed
from engine.schema import Word

MOST_ROWS = 20_000
"""Seeds and reference that the model is fitted on, each: a level with half a percent of them still has 100 people."""

TYPICAL = 1.2
"""Times as frequent among the seeds as in the reference from which on a value may be typical of the seeds."""

NOT_BY_CHANCE = 1.645
"""And by so many standard errors: in 1 of 20 cases chance alone would do it."""

FEW_SEEDS = 30
MISSING_APART = 0.3
TOO_GOOD = 0.98
NEAREST_TRIED = 4


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """One column as the seeds and the reference have it.

    Attributes
    ----------
    levels
        How the column is divided.
    seeds, reference
        Shares of the people by level; each sums to 1.
    typical
        Whether a level is typical of the seeds: at least 1.2 times as frequent among them, and not by chance (a test of
        two proportions, one-sided, at 5 %).
    missing
        Share of people without a value: ``seeds``, ``reference``, ``prospects``.
    """

    levels: Levels
    seeds: NDArray[np.float64]
    reference: NDArray[np.float64]
    typical: NDArray[np.bool_]
    missing: dict[str, float]

    @property
    def times(self) -> NDArray[np.float64]:
        """How many times as frequent each level is among the seeds; infinite where the reference has none."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.seeds / self.reference

    def to_dict(self) -> dict[str, Any]:
        """Return it fit for JSON; levels that nobody has are left out."""
        return {
            "name": self.levels.name,
            "kind": self.levels.kind,
            "missing": self.missing,
            "levels": [
                {
                    "value": self.levels.label(code).to_dict(),
                    "share_seeds": float(self.seeds[code]),
                    "share_reference": float(self.reference[code]),
                    "times": float(self.times[code]) if self.reference[code] else None,
                    "typical": bool(self.typical[code]),
                }
                for code in range(self.levels.size)
                if self.seeds[code] or self.reference[code]
            ],
        }


@dataclass(frozen=True, slots=True, eq=False)
class Lookalikes:
    """The list, and what stands behind it.

    Attributes
    ----------
    table
        ``customer_id, rank, similarity, nearest_seed_distance, shared``, the best first.

        ``similarity`` is 0 to 1: of people with the same values, drawn alike from seeds and reference, the share that
        are seeds; 0.5 is as frequent among the seeds as in the reference. ``nearest_seed_distance`` is 0 (a seed has
        the same levels) to 1 (every column differs as far as it can). ``shared`` lists the columns whose value is
        typical of the seeds, the most typical first.
    profiles
        By column used: how it is divided, and how seeds and reference spread over it.
    left_out
        Columns that were not used, with the reason.
    evidence
        Held-out figures; ``None`` where there are too few people to hold any out.
    counts
        Of seeds, prospects and reference: rows read, left out and used.
    notes
        What a reader must know.
    """

    table: pl.DataFrame
    profiles: tuple[Profile, ...]
    left_out: tuple[LeftOut, ...]
    evidence: Evidence | None
    counts: dict[str, dict[str, int]]
    notes: tuple[Word, ...]

    @property
    def columns(self) -> list[str]:
        """Names of the columns used."""
        return [profile.levels.name for profile in self.profiles]

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the list itself, fit for JSON; it names no person."""
        alone = {} if self.evidence is None else self.evidence.columns
        return {
            **self.counts,
            "evidence": None if self.evidence is None else self.evidence.to_dict(),
            "columns": [{**each.to_dict(), "auc_alone": alone.get(each.levels.name)} for each in self.profiles],
            "left_out": [column.to_dict() for column in self.left_out],
            "notes": [note.to_dict() for note in self.notes],
        }


def find_lookalikes(
    seeds: pl.DataFrame,
    prospects: pl.DataFrame,
    *,
    reference: pl.DataFrame | None = None,
    customers: pl.Series | None = None,
    columns: Sequence[str] | None = None,
    codes: Sequence[str] = (),
    k: int = 1000,
    seed: int = 0,
    threads: int | None = None,
) -> Lookalikes:
    """Return the prospects who are most like the seeds.

    All columns that the tables share are divided into levels (:mod:`engine.lookalike.levels`); a regularised logistic
    regression of seeds against the reference gives each level its points (:mod:`engine.lookalike.scorecard`). Equal
    points are ranked by the distance to the nearest seed, then by ``customer_id``.

    Parameters
    ----------
    seeds
        ``customer_id`` and columns; the customers to find more of.
    prospects
        ``customer_id`` and columns; where to look. Seeds among them are left out.
    reference
        The population that seeds are contrasted with; without it the prospects, which answers "who of these". Seeds in
        it are left out.
    customers
        Further ids that must not be in the list.
    columns
        Use only these; ``None`` takes what can be compared.
    codes
        Columns of numbers that are codes, such as those of provinces.
    k
        Length of the list, at least 1.
    seed
        Of samples and folds.
    threads
        Of the search for the nearest seed; ``None`` takes all.

    Raises
    ------
    DataError
        Fewer than two seeds, nobody left to choose from, or no column to compare.
    ColumnsMissingError
        A column that was named, or ``customer_id``, is not in one of the tables.
    SettingError
        ``k`` is no whole number from 1, or ``seed`` none of 31 bits.

    Examples
    --------
    >>> import polars as pl
    >>> seeds = pl.DataFrame({"customer_id": range(40), "age": ["45-54", "55-64"] * 20})
    >>> prospects = pl.DataFrame({"customer_id": range(100, 400), "age": ["25-34", "35-44", "45-54"] * 100})
    >>> found = find_lookalikes(seeds, prospects, k=2)
    >>> found.table.select("customer_id", "rank", "shared").rows()
    [(102, 1, ['age']), (105, 2, ['age'])]
    """
    check_length(k)
    check_seed(seed)
    of_seeds, of_prospects = check_people(seeds, "seeds"), check_people(prospects, "prospects")
    if of_seeds.frame.height < 2:
        raise DataError(
            f"seeds: expected at least two seeds to say what they have in common; got {of_seeds.frame.height}. "
            "Give more seeds: a whole segment, or a wider condition."
        )
    known = of_seeds.keys if customers is None else pl.concat([of_seeds.keys, keys(customers, "customers")])
    left = of_prospects.without(known)
    if not left.frame.height:
        raise DataError(
            f"prospects: expected somebody who is no customer yet; all {of_prospects.frame.height} prospects are "
            "customers already (by customer_id). Give other prospects, or (in `cartera lookalike`, "
            "keep_customers=true) look among the customers who are no seeds."
        )
    tables = {"seeds": of_seeds.frame, "prospects": left.frame}
    against = "prospects"
    of_reference = left
    if reference is not None:
        against = "reference"
        of_reference = check_people(reference, "reference").without(of_seeds.keys)
        tables["reference"] = of_reference.frame
        if not of_reference.frame.height:
            raise DataError(
                "reference: expected people who are no seeds; everybody in the reference is a seed. Give a reference "
                "of other people too, or none: then the prospects are the reference."
            )
    usable = comparable_columns(tables, wanted=columns, codes=codes)
    levels, kept, constant = _divide(usable.columns, against)
    left_out = [*usable.left_out, *constant]
    people = {key: encode(levels, {each.name: each.values[key] for each in kept}) for key in tables}
    draw = np.random.default_rng(seed)
    fitted = [_sample(people[key], draw) for key in ("seeds", against)]
    card = Scorecard.fit(levels, *fitted)
    profiles = tuple(_profile(index, each, people, against) for index, each in enumerate(levels))
    taken = min(k, left.frame.height)
    evidence = held_out(levels, *fitted, share_in_list=taken / left.frame.height, seed=seed)
    table = _ranked(left.frame[ID], people, levels, card, profiles, k=taken, seed=seed, threads=threads)
    counts = {
        "seeds": {**of_seeds.counts, "used": of_seeds.frame.height},
        "prospects": {
            **of_prospects.counts,
            "customers": of_prospects.frame.height - left.frame.height,
            "ranked": left.frame.height,
        },
        "reference": {"rows": of_reference.frame.height, "fitted_on": len(fitted[1])},
    }
    notes = [
        *_of_tables({"seeds": of_seeds, "prospects": of_prospects}),
        *_of_sizes(of_seeds.frame.height, left.frame.height, k, table),
        *usable.notes,
        *_of_columns(profiles, evidence, of_seeds.frame.height),
    ]
    return Lookalikes(table, profiles, tuple(left_out), evidence, counts, tuple(notes))


def check_length(k: Any) -> None:
    """Raise :class:`SettingError` unless a list can be so long."""
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise SettingError(f"k: expected how many look-alikes to return, a whole number from 1; got {k!r}.")


def _divide(columns: Sequence[Column], against: str) -> tuple[list[Levels], list[Column], list[LeftOut]]:
    """Return the levels of the columns that have at least two among seeds and reference."""
    levels, kept, left_out = [], [], []
    for column in columns:
        divided = Levels.fit(column, against)
        there = {code for key in ("seeds", against) for code in np.unique(divided.codes(column.values[key])).tolist()}
        if len(there) > 1:
            levels.append(divided)
            kept.append(column)
        else:
            rare = divided.kind == "text" and divided.size - 2 in there
            left_out.append(LeftOut(column.name, words.TOO_RARE if rare else words.CONSTANT))
    if not levels:
        why = "; ".join(f"{column.name}: {column.reason.en}" for column in left_out)
        raise DataError(
            f"columns: expected one with at least two values among seeds and {against}; no column tells people apart "
            f"({why}). Give tables with other columns."
        )
    return levels, kept, left_out


def _sample(codes: Codes, draw: np.random.Generator) -> Codes:
    if len(codes) <= MOST_ROWS:
        return codes
    return codes[np.sort(draw.choice(len(codes), MOST_ROWS, replace=False))]


def _profile(index: int, column: Levels, people: dict[str, Codes], against: str) -> Profile:
    counts = {key: np.bincount(codes[:, index], minlength=column.size) for key, codes in people.items()}
    rows = {key: len(codes) for key, codes in people.items()}
    seeds, others = counts["seeds"] / rows["seeds"], counts[against] / rows[against]
    pooled = (counts["seeds"] + counts[against]) / (rows["seeds"] + rows[against])
    error = np.sqrt(pooled * (1 - pooled) * (1 / rows["seeds"] + 1 / rows[against]))
    clear = (seeds >= TYPICAL * others) & (seeds - others >= NOT_BY_CHANCE * error) & (seeds > 0)
    return Profile(
        levels=column,
        seeds=seeds,
        reference=others,
        # "Missing" and "other" are nothing that two people have in common.
        typical=clear & (np.arange(column.size) < column.named),
        missing={
            name: float(counts[key][-1] / rows[key])
            for name, key in (("seeds", "seeds"), ("reference", against), ("prospects", "prospects"))
        },
    )


def _ranked(
    ids: pl.Series,
    people: dict[str, Codes],
    levels: Sequence[Levels],
    card: Scorecard,
    profiles: Sequence[Profile],
    *,
    k: int,
    seed: int,
    threads: int | None,
) -> pl.DataFrame:
    """Return the best k of the prospects."""
    codes = people["prospects"]
    scores = card.score(codes)
    border = np.partition(scores, len(scores) - k)[len(scores) - k]
    chosen = np.flatnonzero(scores >= border)
    # People with the same levels are alike in everything that follows.
    different, of = np.unique(codes[chosen], axis=0, return_inverse=True)
    distances = _nearest(different, patterns(people["seeds"], levels)[0], levels, seed=seed, threads=threads)
    shared = pl.Series("shared", _shared(different, profiles), dtype=pl.List(pl.String))
    of = of.reshape(-1)
    return (
        pl.DataFrame(
            {
                ID: ids.gather(chosen),
                "similarity": similarity(scores[chosen]),
                "nearest_seed_distance": distances[of],
                "shared": shared.gather(of),
            }
        )
        .sort("similarity", "nearest_seed_distance", ID, descending=[True, False, False])
        .head(k)
        .with_row_index("rank", offset=1)
        .select(ID, pl.col("rank").cast(pl.Int64), "similarity", "nearest_seed_distance", "shared")
    )


def _nearest(
    people: Codes, seeds: Codes, levels: Sequence[Levels], *, seed: int, threads: int | None
) -> NDArray[np.float64]:
    """Return each person's distance to the nearest seed, 0 to 1."""
    from engine.neighbours import NeighbourIndex

    places = [each.places for each in levels]
    at, of_seeds = expand(people, places), expand(seeds, places)
    index = NeighbourIndex.build(of_seeds.astype(np.float32), None, seed=seed, threads=threads)
    near = index.search(at.astype(np.float32), min(NEAREST_TRIED, len(seeds)), threads=threads).ids
    # The index works in float32, where a distance of 0 comes out as 1e-4: the nearest few are measured again.
    best = np.full(len(at), np.inf)
    for column in near.T:
        there = column >= 0
        apart = ((at[there] - of_seeds[column[there]]) ** 2).sum(axis=1)
        best[there] = np.minimum(best[there], apart)
    return np.sqrt(best / len(levels))


def _shared(people: Codes, profiles: Sequence[Profile]) -> list[list[str]]:
    """Return for each person the columns with a value typical of the seeds, the most typical first."""
    times = np.column_stack(
        [np.where(each.typical, each.times, 0.0)[people[:, index]] for index, each in enumerate(profiles)]
    )
    order = np.argsort(-times, axis=1, kind="stable")
    names = [each.levels.name for each in profiles]
    return [[names[column] for column in row if times[number, column] > 0] for number, row in enumerate(order.tolist())]


def _of_tables(tables: dict[str, People]) -> list[Word]:
    return [
        words.rows_dropped(key, people.counts["repeated"], people.counts["without_id"])
        for key, people in tables.items()
        if people.counts["repeated"] or people.counts["without_id"]
    ]


def _of_sizes(seeds: int, prospects: int, k: int, table: pl.DataFrame) -> list[Word]:
    notes = [words.few_seeds(seeds)] if seeds < FEW_SEEDS else []
    if k > prospects:
        notes.append(words.fewer_than_asked(prospects, k))
    unlike = table.filter(pl.col("similarity") < 0.5).height
    return [*notes, words.unlike(unlike, table.height)] if unlike else notes


def _of_columns(profiles: Sequence[Profile], evidence: Evidence | None, seeds: int) -> list[Word]:
    notes = []
    for profile in profiles:
        name, missing = profile.levels.name, profile.missing
        if abs(missing["seeds"] - missing["reference"]) >= MISSING_APART:
            notes.append(words.missing_differs(name, missing["seeds"], missing["reference"]))
        alone = 0.5 if evidence is None else evidence.columns[name]
        if alone >= TOO_GOOD and seeds >= FEW_SEEDS:
            notes.append(words.too_good(name, alone))
    return notes
