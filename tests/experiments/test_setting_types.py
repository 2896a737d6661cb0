"""Settings of the wrong type: which one, what was expected, what came."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.experiments.conftest import Ran

LOOKALIKE = ("lookalike", "seeds=a", "prospects=b")
SERVE = ("serve", "bundle=a")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((*SERVE, "serve.port=abc"), "serve.port: expected a whole number; got 'abc'."),
        ((*SERVE, "serve.rate=much"), "serve.rate: expected a number, or null; got 'much'."),
        ((*SERVE, "serve.behind_proxy=perhaps"), "serve.behind_proxy: expected true or false; got 'perhaps'."),
        ((*SERVE, "serve.hosts=a.com"), "serve.hosts: expected a list, as in serve.hosts=[a.com]; got 'a.com'."),
        ((*SERVE, "serve=null"), "serve: expected a group of settings (serve.host=… and others); got null."),
        ((*SERVE, "+serve.prt=1"), "serve.prt: no such setting (did you mean 'serve.port'?)."),
        ((*LOOKALIKE, "k=2.5"), "k: expected a whole number; got 2.5."),
        ((*LOOKALIKE, "k=null"), "k: expected a whole number; got null."),
        ((*LOOKALIKE, "columns=age"), "columns: expected a list, as in columns=[age], or null; got 'age'."),
        (("lookalike", "seeds=[a]", "prospects=b"), "seeds: expected text; got ['a']."),
        (("segment", "data.path=a", "segments.min=few"), "segments.min: expected a whole number; got 'few'."),
        (("bench", "kmeans", "memory_gib=lots"), "memory_gib: expected a number, or null; got 'lots'."),
    ],
)  # fmt: skip
def test_a_setting_of_the_wrong_type_is_told_in_plain_words(
    cartera: Callable[..., Ran], arguments: tuple[str, ...], said: str
) -> None:
    ran = cartera(*arguments, *(() if arguments[0] == "bench" else ("out=out",)))
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    # No word of the libraries underneath.
    assert not any(word in ran.err for word in ("Integer", "ListConfig", "AnyNode", "Optional", "Traceback"))


def test_a_reference_to_nothing_keeps_its_own_words(cartera: Callable[..., Ran]) -> None:
    ran = cartera(*LOOKALIKE, "out=out", "k=${nowhere}")
    assert ran.code == 2
    assert "nowhere" in ran.err
