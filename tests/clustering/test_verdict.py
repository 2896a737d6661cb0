from __future__ import annotations

import json
import math
import re

import numpy as np
import pytest

from engine.clustering.sweep import Tries, sweep
from engine.clustering.trial import Trial
from engine.clustering.verdict import BREAK_STRENGTH, break_strengths, choose_k, degenerate
from engine.errors import SettingError

N = 1_000


def trial(k, inertia, silhouette, *, total=None, sizes=None):
    """A trial with these figures. ``total`` is the inertia at k = 1, kept in the spread of the centroids."""
    if sizes is None:
        sizes = np.full(k, N // k)
        sizes[0] += N - sizes.sum()
    sizes = np.asarray(sizes, np.int64)
    centroids = np.arange(k, dtype=np.float64)[:, None]
    if total is not None and k > 1:
        centroids -= sizes @ centroids / sizes.sum()
        centroids *= math.sqrt((total - inertia) / float(sizes @ centroids[:, 0] ** 2))
    return Trial(
        k=k,
        backend="native",
        solver="full",
        seed=0,
        centroids=centroids,
        sizes=sizes,
        inertia=inertia,
        total_scatter=inertia if total is None else total,
        silhouette=silhouette,
        n_iter=1,
        stop_reason="converged",
        seconds=0.0,
    )


def table(inertias, silhouettes, *, total, first=2, sizes=None):
    return [
        trial(k, inertia, width, total=total, sizes=(sizes or {}).get(k))
        for k, (inertia, width) in enumerate(zip(inertias, silhouettes, strict=True), start=first)
    ]


def complete_journey():
    """2,469 households by logarithm of orders, units and spending, standardised: inertia at k = 1 is 3 × 2,469."""
    return table(
        [2894, 1675, 1192, 937, 784, 695, 633],
        [0.526, 0.461, 0.406, 0.383, 0.348, 0.322, 0.312],
        total=7407,
    )


def four_groups():
    return table([500, 300, 40, 36, 33, 31, 30], [0.55, 0.70, 0.90, 0.75, 0.66, 0.60, 0.58], total=1000)


def groups(seed, k, d, *, n=600, apart=9.0):
    """Normal groups of unequal size; the nearest two centres are ``apart`` standard deviations from each other."""
    rng = np.random.default_rng([seed, k, d])
    while True:
        centres = rng.normal(size=(k, d))
        gaps = np.sqrt(((centres[:, None] - centres) ** 2).sum(axis=2))[np.triu_indices(k, 1)]
        if gaps.max() < 2.5 * gaps.min():
            break
    sizes = rng.multinomial(n, rng.dirichlet(np.full(k, 8.0)))
    rows = np.repeat(centres * (apart / gaps.min()), sizes, axis=0)
    return (rows + rng.normal(size=rows.shape)).astype(np.float32)


def verdict_on(matrix, low=2, high=8, seed=0):
    trials = list(sweep(Tries(matrix.astype(np.float32), threads=1), range(2, 10), seed=seed))
    return choose_k(trials, min_segments=low, max_segments=high)


@pytest.mark.parametrize("k", [3, 4, 5, 6])
@pytest.mark.parametrize("d", [2, 3, 8])
def test_separated_groups_are_clear_and_counted_right(k, d):
    for seed in range(4):
        found = verdict_on(groups(seed, k, d), seed=seed)
        assert (found.clear, found.k, found.knee) == (True, k, k)
        assert found.knee_strength >= BREAK_STRENGTH


def test_two_groups_are_clear_too():
    # The curve begins at k = 1, so that a break at the smallest k tried is seen.
    found = verdict_on(groups(0, 2, 3))
    assert (found.clear, found.k) == (True, 2)


@pytest.mark.parametrize("d", [1, 2, 3, 8])
@pytest.mark.parametrize("family", ["uniform", "normal", "exponential", "one factor"])
def test_data_without_groups_have_no_clear_k(family, d):
    for seed in range(3):
        rng = np.random.default_rng([seed, d])
        matrix = {
            "uniform": lambda r: r.uniform(size=(800, d)),
            "normal": lambda r: r.normal(size=(800, d)),
            "exponential": lambda r: r.exponential(size=(800, d)),
            "one factor": lambda r: r.normal(size=(800, 1)) + 0.5 * r.normal(size=(800, d)),
        }[family](rng)
        found = verdict_on(matrix, 3, 8, seed=seed)
        assert not found.clear
        assert 3 <= found.k <= 8
        assert "no number of segments stands out" in found.reason.en


def test_complete_journey_has_no_clear_k_and_the_limits_take_the_knee():
    found = choose_k(complete_journey(), min_segments=3, max_segments=8)
    assert (found.k, found.clear, found.knee, found.silhouette_best) == (4, False, 4, 3)
    assert found.knee_strength == pytest.approx(0.0875, abs=0.001)
    assert found.reason.en == (
        "The customers shade into one another: no number of segments stands out. Within the limits of 3 to 8, 4 was "
        "taken, where the inertia curve bends most; by silhouette alone it would be 3."
    )
    assert found.reason.es == (
        "Entre unos clientes y otros no hay cortes claros: ningún número de segmentos destaca. Dentro de los límites, "
        "de 3 a 8, se ha tomado 4, donde más se dobla la curva de la inercia; solo por la silueta sería 3."
    )
    assert found.warnings == ()


def test_the_figures_behind_the_reason_are_explained_apart():
    found = choose_k(complete_journey(), min_segments=3, max_segments=8)
    assert "logarithmic scales" in found.evidence.en
    assert "the sharpest break is at 6: beyond it, the slope is 20% gentler; groups are spoken of from 65% on." in (
        found.evidence.en
    )
    assert "está en 6: a partir de ahí la pendiente es un 20\xa0% menor" in found.evidence.es
    assert not re.search(r"%|\d[.,]\d", found.reason.en + found.reason.es)


def test_the_silhouette_that_agrees_with_the_bend_is_told():
    found = choose_k(complete_journey(), min_segments=4, max_segments=8)
    assert (found.k, found.silhouette_best) == (4, 4)
    assert found.reason.en.endswith("where the inertia curve bends most; the silhouette is highest at 4 too.")
    assert found.reason.es.endswith("curva de la inercia; la silueta también es máxima con 4.")


def test_without_a_silhouette_the_reason_is_silent_on_it():
    trials = table([2894, 1675, 1192, 937, 784], [None] * 5, total=7407)
    assert "silhouette" not in choose_k(trials, min_segments=3, max_segments=6).reason.en


@pytest.mark.parametrize(
    ("ks", "en", "es"),
    [
        (range(2, 9), "Within the limits of 3 to 8, ", "Dentro de los límites, de 3 a 8, "),
        (range(3, 8), "From 3 to 7, the numbers tried", "De 3 a 7, los números probados"),
        (range(4, 9), "From 4 to 8, the numbers tried", "De 4 a 8, los números probados"),
        (range(2, 4), "Within the limits, 3 was taken, the only", "Dentro de los límites, se ha tomado 3, el único"),
    ],
)
def test_the_limits_named_are_those_that_were_tried(ks, en, es):
    trials = [trial for trial in complete_journey() if trial.k in ks]
    found = choose_k(trials, min_segments=3, max_segments=8)
    assert en in found.reason.en
    assert es in found.reason.es


def test_too_few_trials_prove_no_lack_of_groups():
    trials = [trial for trial in complete_journey() if trial.k in (2, 8)]
    found = choose_k(trials, min_segments=3, max_segments=8)
    assert found.reason.en.startswith("Too few numbers of segments were tried")
    assert found.evidence is None


def test_a_straight_curve_has_no_break_to_speak_of():
    # Inertia as 1 / k falls in a straight line on logarithmic scales.
    found = choose_k(table([50, 100 / 3, 25, 20], [0.4] * 4, total=100), min_segments=2, max_segments=5)
    assert "Here it breaks nowhere" in found.evidence.en
    assert "Aquí no hay ningún codo" in found.evidence.es


@pytest.mark.parametrize(("low", "high", "k"), [(2, 8, 4), (3, 8, 4), (4, 5, 4), (6, 8, 6), (2, 3, 2), (3, 3, 3)])
def test_without_a_clear_k_the_limits_decide(low, high, k):
    found = choose_k(complete_journey(), min_segments=low, max_segments=high)
    assert (found.k, found.clear, found.limits) == (k, False, (low, high))


def test_k_beyond_the_limits_does_not_move_the_bend():
    # A longer range draws a flatter tail, which would push the bend to the right.
    longer = [*complete_journey(), trial(9, 580, 0.30, total=7407), trial(12, 460, 0.29, total=7407)]
    assert choose_k(longer, min_segments=3, max_segments=8).knee == 4


def test_break_strength_worked_by_hand():
    # log W: 0 at k = 1, -ln 4 at 2, -ln 8 at 4; slopes 2 and 1: half of the fall is lost behind 2.
    trials = [trial(2, 1.0, 0.5, total=4.0), trial(4, 0.5, 0.5, total=4.0)]
    assert break_strengths(trials) == pytest.approx({2: 0.5})


def test_a_power_of_k_has_no_break():
    # What inertia does in data without groups, in any number of dimensions.
    for d in (1, 2, 5, 16):
        trials = [trial(k, 100 * k ** (-2 / d), 0.5, total=100.0) for k in range(2, 9)]
        assert max(break_strengths(trials).values()) < 1e-9


def test_the_unit_of_the_features_does_not_change_the_strength():
    scaled = table([50_000, 30_000, 4_000, 3_600], [0.5, 0.7, 0.9, 0.7], total=100_000)
    plain = table([500, 300, 40, 36], [0.5, 0.7, 0.9, 0.7], total=1_000)
    assert break_strengths(scaled) == pytest.approx(break_strengths(plain))


def test_a_worse_optimum_at_a_larger_k_counts_as_no_fall():
    trials = table([500, 100, 120, 90], [0.5, 0.9, 0.6, 0.6], total=1000)
    assert break_strengths(trials)[3] == 1.0


def test_distinct_rows_used_up_are_a_full_break():
    matrix = np.repeat(np.array([[0.0], [10.0], [25.0]], np.float32), 50, axis=0)
    found = choose_k(list(sweep(Tries(matrix), range(2, 11))), min_segments=2, max_segments=8)
    assert (found.k, found.clear, found.knee_strength) == (3, True, 1.0)


def test_groups_are_clear_with_their_figures():
    found = choose_k(four_groups(), min_segments=3, max_segments=8)
    assert (found.k, found.clear, found.knee, found.silhouette_best) == (4, True, 4, 4)
    assert found.reason.en.startswith("4 segments stand out: up to 4,")
    assert "at 4: beyond it, the slope is 93% gentler" in found.evidence.en
    assert "The silhouette there is 0.90." in found.evidence.en
    assert "un 93\xa0%" in found.evidence.es
    assert "0,90" in found.evidence.es


def test_a_break_that_the_silhouette_does_not_confirm_is_not_clear():
    trials = table([500, 300, 40, 36, 33], [0.85, 0.80, 0.60, 0.55, 0.5], total=1000)
    found = choose_k(trials, min_segments=2, max_segments=8)
    assert (found.k, found.clear, found.knee, found.silhouette_best) == (4, False, 4, 2)
    assert "the inertia curve breaks at 4, but the silhouette does not confirm" in found.reason.en
    assert found.reason.en.endswith("4 was taken, where the inertia curve breaks; by silhouette alone it would be 2.")
    assert "The silhouette there is 0.60." in found.evidence.en


def test_a_break_between_segments_that_overlap_is_not_clear():
    trials = table([500, 300, 40, 36, 33], [0.1, 0.15, 0.2, 0.1, 0.1], total=1000)
    found = choose_k(trials, min_segments=2, max_segments=8)
    assert (found.k, found.clear) == (4, False)
    assert "does not confirm separate groups" in found.reason.en
    assert found.reason.en.endswith("where the inertia curve breaks; the silhouette is highest at 4 too.")


def test_a_clear_number_outside_the_limits_is_told():
    found = choose_k(four_groups(), min_segments=5, max_segments=7)
    assert found.k in (5, 6, 7)
    assert not found.clear
    assert any("show 4 groups" in warning.en and "5 to 7" in warning.en for warning in found.warnings)
    assert any("4 grupos" in warning.es for warning in found.warnings)


def test_the_best_silhouette_at_the_end_of_the_range_asks_for_more():
    trials = table([500, 400, 330, 280], [0.3, 0.35, 0.4, 0.5], total=700)
    warnings = choose_k(trials, min_segments=2, max_segments=8).warnings
    assert any("Widen clustering.k_range" in warning.en for warning in warnings)
    assert not any("k_range" in warning.en for warning in choose_k(trials, min_segments=2, max_segments=5).warnings)


def test_a_long_tail_without_scaling_is_called_out_although_its_silhouette_is_high():
    rng = np.random.default_rng(0)
    monetary = np.concatenate([rng.exponential(100.0, 990), rng.uniform(20_000, 40_000, 10)])
    matrix = np.stack([monetary, rng.exponential(3.0, 1_000)], axis=1).astype(np.float32)
    (found,) = sweep(Tries(matrix), [2])
    assert found.largest_share == 0.99
    assert found.silhouette > 0.95
    told = degenerate(found)
    assert told is not None
    assert "one holds 99.0% of customers" in told.en
    assert "reúne al 99,0\xa0%" in told.es


@pytest.mark.parametrize(
    ("sizes", "called_out"), [([950, 50], False), ([951, 49], True), ([999, 1], True), ([500, 500], False)]
)
def test_degenerate_means_more_than_95_percent_in_one(sizes, called_out):
    assert (degenerate(trial(2, 1.0, 0.95, sizes=sizes)) is not None) == called_out


def test_one_segment_by_request_is_not_called_degenerate():
    assert degenerate(trial(1, 1.0, None)) is None


def test_a_degenerate_division_is_passed_over_and_told():
    # The sharpest break and the best silhouette are both at 2, where 99 % are in one segment.
    trials = table([100, 90, 80, 72, 66], [0.97, 0.5, 0.45, 0.44, 0.43], total=1000, sizes={2: [990, 10]})
    found = choose_k(trials, min_segments=2, max_segments=6)
    assert found.k != 2
    assert found.silhouette_best == 3
    assert any("2 segments put up to 99.0% of customers in one" in warning.en for warning in found.warnings)


def test_nothing_but_degenerate_divisions_is_told():
    trials = table([100, 90, 80], [0.97, 0.96, 0.95], total=1000, sizes={
        2: [990, 10], 3: [980, 10, 10], 4: [970, 10, 10, 10],
    })  # fmt: skip
    found = choose_k(trials, min_segments=2, max_segments=4)
    assert (found.k, found.clear, found.knee) == (4, False, None)
    assert "nearly all of them in one segment" in found.reason.en
    assert "whatever its silhouette (0.95)" in found.warnings[0].en


def test_a_small_segment_is_told_but_not_forbidden():
    trials = table([500, 300, 40, 36, 33], [0.55, 0.7, 0.9, 0.75, 0.7], total=1000, sizes={4: [500, 300, 195, 5]})
    found = choose_k(trials, min_segments=2, max_segments=6)
    assert (found.k, found.clear) == (4, True)
    assert [warning.en for warning in found.warnings] == [
        "The smallest segment has 0.5% of customers, less than 1.0%: perhaps too few for a campaign of its own."
    ]


def test_a_small_segment_is_avoided_where_another_k_is_as_good():
    # Bends at 4 (0.42) and 5 (0.41) are nearly the same, and so are the silhouettes.
    inertias, silhouettes = [2894, 1675, 1192, 837, 700, 660, 633], [0.5, 0.45, 0.40, 0.395, 0.35, 0.33, 0.32]
    plain = choose_k(table(inertias, silhouettes, total=7407), min_segments=3, max_segments=8)
    small = table(inertias, silhouettes, total=7407, sizes={4: [500, 300, 195, 5]})
    avoided = choose_k(small, min_segments=3, max_segments=8)
    assert (plain.k, plain.knee) == (4, 4)
    assert (avoided.k, avoided.knee) == (5, 4)
    assert "as good as 4, which would leave a segment with 0.5% of customers" in avoided.reason.en


def test_k_that_was_fixed_is_taken():
    found = choose_k([trial(4, 10.0, 0.5, total=20.0)], min_segments=3, max_segments=8)
    assert (found.k, found.clear, found.knee, found.knee_strength, found.silhouette_best) == (4, False, None, 0.0, 4)
    assert found.reason.en == "4 segments, as set: no other number was tried."
    assert found.warnings == ()


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (trial(2, 10.0, 0.5), "outside the limits of 3 to 8"),
        (trial(3, 10.0, 0.9, sizes=[980, 10, 10]), "one holds 98.0% of customers"),
        (trial(3, 10.0, 0.9, sizes=[500, 495, 5]), "The smallest segment has 0.5%"),
        (trial(1, 10.0, None), "The number that was set, 1, is outside the limits"),
    ],
)
def test_k_that_was_fixed_is_warned_about_where_it_does_not_fit(one, expected):
    found = choose_k([one], min_segments=3, max_segments=8)
    assert found.k == one.k
    assert any(expected in warning.en for warning in found.warnings)


@pytest.mark.parametrize(
    ("trials", "settings", "expected"),
    [
        (complete_journey(), {"min_segments": 10, "max_segments": 12}, r"tried \(2, 3, 4, 5, 6, 7, 8\); got 10 to 12"),
        (complete_journey(), {"min_segments": 5, "max_segments": 4}, r"segments\.min <= segments\.max"),
        (complete_journey(), {"min_segments": 0, "max_segments": 4}, r"1 <= segments\.min"),
        (complete_journey(), {"min_segments": 2, "max_segments": 4, "min_share": 1.5}, "share from 0 to 1"),
        ([], {"min_segments": 2, "max_segments": 4}, "at least one trial"),
    ],
)
def test_limits_that_cannot_be_are_refused(trials, settings, expected):
    with pytest.raises(SettingError, match=expected):
        choose_k(trials, **settings)


def test_the_order_of_the_trials_does_not_matter():
    straight = choose_k(complete_journey(), min_segments=3, max_segments=8)
    assert choose_k(complete_journey()[::-1], min_segments=3, max_segments=8) == straight


def test_two_trials_are_enough():
    found = choose_k(complete_journey()[:2], min_segments=3, max_segments=8)
    assert (found.k, found.knee) == (3, None)
    assert "the only usable number among those tried" in found.reason.en


def test_a_verdict_is_json():
    found = choose_k(four_groups(), min_segments=5, max_segments=7)
    read = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert read["limits"] == [5, 7]
    assert read["reason"] == {"en": found.reason.en, "es": found.reason.es}
    assert read["evidence"] == {"en": found.evidence.en, "es": found.evidence.es}
    assert len(read["warnings"]) == len(found.warnings) > 0
    assert set(read) == set(found.__slots__)
