"""What every report is made with: the templates, Plotly's JavaScript, and data that cannot break out of its script."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import jinja2
from markupsafe import Markup


@cache
def templates() -> jinja2.Environment:
    """Return the templates of all reports.

    Whatever is placed into them is escaped, and a name that the page does not give is an error, not a gap.

    Examples
    --------
    >>> templates().from_string("{{ name }}").render(name="<b>Fish & chips</b>")
    '&lt;b&gt;Fish &amp; chips&lt;/b&gt;'
    """
    return jinja2.Environment(
        loader=jinja2.PackageLoader("engine.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def plotly() -> Markup:
    """Return Plotly's JavaScript, about 5 MB, to stand in a script element."""
    from plotly.offline import get_plotlyjs

    return Markup(get_plotlyjs())


def as_json(value: Any) -> Markup:
    r"""Write JSON that cannot end the script element it stands in.

    Parameters
    ----------
    value
        Plain values: dicts with text keys, lists, text, finite numbers, truth values and None.

    Raises
    ------
    ValueError
        A number is not finite: JSON has no word for it.

    Examples
    --------
    >>> print(as_json({"name": "</script>"}))
    {"name":"\u003c/script\u003e"}
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)
