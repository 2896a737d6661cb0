"""``/docs``: the OpenAPI document as a page, from this machine alone and without a script."""

from __future__ import annotations

import json
from typing import Any

import jinja2

from engine.serving.pages.frame import coded

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }} API</title>
<link rel="icon" href="data:,">
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1c2730 }
h2 { margin: 2.5rem 0 0; border-top: 1px solid #d5dbe0; padding-top: 1.5rem; font-size: 1.15rem }
h2 code { background: none; padding: 0; overflow-wrap: anywhere }
code, pre { background: #f1f4f6; border-radius: 4px; padding: .1rem .3rem; font-size: .9em }
pre { padding: .8rem; overflow-x: auto }
dt { font-weight: 600 } dd { margin: 0 0 .4rem 1rem }
</style>
</head>
<body>
<main>
<h1>{{ title }} API</h1>
<p>{{ about|coded }}</p>
<p>The same for machines: <a href="/openapi.json">openapi.json</a>.</p>
{% for operation in operations %}
<section>
<h2><code>{{ operation.method }} {{ operation.path }}</code></h2>
<p><strong>{{ operation.summary }}.</strong> {{ operation.description|coded }}</p>
{% if operation.parameters %}
<dl>{% for one in operation.parameters %}
<dt><code>{{ one.name }}</code>{% if one.required %} (needed){% endif %}</dt><dd>{{ one.description|coded }}</dd>
{% endfor %}</dl>
{% endif %}
{% if operation.curl %}<pre>{{ operation.curl }}</pre>{% endif %}
<p>Answers: {% for code, text in operation.answers -%}
{{ code }} {{ text|coded }}{{ " " if not loop.last }}{% endfor %}</p>
</section>
{% endfor %}
</main>
</body>
</html>
"""


def docs_page(document: dict[str, Any], address: str) -> str:
    """Return the page of an OpenAPI document.

    Parameters
    ----------
    document
        Of :func:`engine.serving.openapi.document`.
    address
        Where the server is reached, for the examples.
    """
    operations = [
        {
            "path": path,
            "method": method.upper(),
            "summary": operation["summary"].rstrip("."),
            "description": operation.get("description", ""),
            "parameters": [{"description": "", **parameter} for parameter in operation.get("parameters", [])],
            "curl": _curl(address + path, operation),
            "answers": [
                (code, _sentence(answer.get("description", ""))) for code, answer in operation["responses"].items()
            ],
        }
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters["coded"] = coded
    return environment.from_string(PAGE).render(
        title=document["info"]["title"], about=document["info"]["description"], operations=operations
    )


def _curl(url: str, operation: dict[str, Any]) -> str:
    token = " -H 'Authorization: Bearer TOKEN'" if operation["security"] else ""
    forms = operation.get("requestBody", {}).get("content", {})
    if "application/json" not in forms:
        return f"curl{token} '{url}'"
    (example,) = forms["application/json"]["examples"].values()
    body = json.dumps(example["value"], ensure_ascii=False).replace("'", "'\\''")
    return f"curl{token} -H 'Content-Type: application/json' \\\n  -d '{body}' '{url}'"


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."
