"""Which names MLflow's registry takes, asked before the work rather than after it."""

from __future__ import annotations

from engine.errors import SettingError


def check_registered_name(name: str) -> None:
    """Refuse a name under which MLflow would not register a model.

    A slash and a colon separate the parts of MLflow's own addresses (``models:/name/1``), and a name is part of a
    path. Quotes end the text by which a model is searched for.

    Raises
    ------
    SettingError
        The name is empty, begins with ``..``, is ``.``, or holds ``/``, ``:`` or a quote.

    Examples
    --------
    >>> check_registered_name("customer-segments")
    >>> check_registered_name("retail/segments")
    Traceback (most recent call last):
        ...
    engine.errors.SettingError: tracking.register: expected a name without / : or quotes, ...
    """
    if not name.strip():
        expected = "a name"
    elif set(name) & set("/:'\""):
        expected = "a name without / : or quotes"
    elif name == "." or name.startswith(".."):
        expected = "a name that is not . and does not begin with .."
    else:
        return
    raise SettingError(
        f"tracking.register: expected {expected}, such as customer-segments; got {name!r}. "
        "Choose another, or null to register nothing."
    )
