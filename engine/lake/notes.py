"""What a reader of any figure must know of the rows behind it, in English and Spanish.

A note follows from the records of ingests, so a lake and a frame say the same of the same rows. Some are warnings of
the ingest too, given while a wrong recipe is still cheap to mend.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from engine.schema import Word

_COLUMNS_SHOWN = 8


def reader_notes(ingests: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return the notes that the records of ingests give rise to."""
    notes = []
    kept = sum(ingest["rows_kept"] for ingest in ingests)
    volume = sum(ingest["by_volume_rows"] for ingest in ingests)
    if volume:
        notes.append(
            Word(
                en=f"{volume:,} of {kept:,} rows are sold by volume or weight: each counts as one unit.",
                es=f"{_es(volume)} de {_es(kept)} filas se venden por volumen o peso: cada una cuenta como una unidad.",
            )
        )
    other = sum(ingest["non_product_rows"] for ingest in ingests)
    if other:
        notes.append(
            Word(
                en=f"{other:,} rows are not products (postage, fees, discounts); they are marked as such.",
                es=f"{_es(other)} filas no son productos (portes, comisiones, descuentos) y están marcadas como tales.",
            )
        )
    if any("order_id" in ingest["filled"] for ingest in ingests):
        notes.append(
            Word(
                en="The source has no order number: everything a customer bought on one day is one order.",
                es="La fuente no trae número de pedido: todo lo que un cliente compró en un día es un pedido.",
            )
        )
    if any("quantity" in ingest["filled"] and ingest.get("price_only") is None for ingest in ingests):
        notes.append(
            Word(
                en="The source has no quantity: every row counts as one unit.",
                es="La fuente no trae cantidades: cada fila cuenta como una unidad.",
            )
        )
    notes += price_only_notes(ingests) + currency_notes(ingests)
    return [note.to_dict() for note in notes]


def price_only_notes(ingests: Iterable[Mapping[str, Any]]) -> list[Word]:
    """Say that unit prices were taken for amounts, and which source columns could be the quantity.

    Examples
    --------
    >>> print(price_only_notes([{"price_only": ["Qty"]}])[0].en)
    Without a quantity each row counts as one unit and its amount is its unit price. If the source has one, set data.columns.quantity to its column. Columns not mapped to anything: Qty.
    """  # noqa: E501  a doctest compares whole lines
    lists = [ingest["price_only"] for ingest in ingests if ingest.get("price_only") is not None]
    if not lists:
        return []
    columns = list(dict.fromkeys(column for names in lists for column in names))
    shown = ", ".join(columns[:_COLUMNS_SHOWN]) + (", …" if len(columns) > _COLUMNS_SHOWN else "")
    return [
        Word(
            en="Without a quantity each row counts as one unit and its amount is its unit price. If the source has "
            "one, set data.columns.quantity to its column."
            + (f" Columns not mapped to anything: {shown}." if columns else ""),
            es="Sin cantidad, cada fila cuenta como una unidad y su importe es su precio unitario. Si la fuente trae "
            "la cantidad, indique su columna en data.columns.quantity."
            + (f" Columnas sin asignar: {shown}." if columns else ""),
        )
    ]


def currency_notes(ingests: Iterable[Mapping[str, Any]]) -> list[Word]:
    """Say that amounts of several currencies were added up.

    Examples
    --------
    >>> print(currency_notes([{"currencies": ["$"]}, {"currencies": ["$", "€"]}])[0].es)
    Hay importes en varias monedas ($, €) y se suman sin convertirlos: use un lago para cada moneda.
    """
    signs = sorted({sign for ingest in ingests for sign in ingest.get("currencies", [])})
    if len(signs) < 2:
        return []
    shown = ", ".join(signs)
    return [
        Word(
            en=f"Amounts carry several currencies ({shown}) and are added up unconverted: use one lake for each.",
            es=f"Hay importes en varias monedas ({shown}) y se suman sin convertirlos: use un lago para cada moneda.",
        )
    ]


def same_name_note(name: str, rows: int) -> Word:
    """Say that a file of this name, with other content, has rows in the lake already."""
    return Word(
        en=f"{name}: the lake already holds {rows:,} rows of a file with this name and other content. If this is a "
        "longer export of the same data, they count twice: begin a new lake (lake=ANOTHER_FOLDER).",
        es=f"{name}: el lago ya contiene {_es(rows)} filas de un archivo con este nombre y otro contenido. Si este es "
        "una exportación más larga de los mismos datos, cuentan dos veces: empiece un lago nuevo (lake=OTRA_CARPETA).",
    )


def _es(number: int) -> str:
    return f"{number:,}".replace(",", ".")
