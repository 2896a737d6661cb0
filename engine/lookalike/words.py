"""What look-alikes have to say to a reader, in English and Spanish."""

from __future__ import annotations

from collections.abc import Sequence

from engine.schema import Word

TABLES = {
    "seeds": Word("the seeds", "los clientes semilla"),
    "prospects": Word("the prospects", "los prospectos"),
    "reference": Word("the reference", "la referencia"),
}

NAME_OF_ID = Word("its name is that of an identifier", "su nombre es el de un identificador")
ALL_DIFFERENT = Word(
    "it has a value of its own for nearly everybody, as an identifier has",
    "tiene un valor propio para casi cada persona, como un identificador",
)
CONSTANT = Word("it has the same value for everybody", "tiene el mismo valor para todos")
TOO_RARE = Word(
    "no two of its values are frequent enough to compare", "no tiene dos valores lo bastante frecuentes para comparar"
)
DATE = Word(
    "it is a date or a time; turn it into a number first, such as an age",
    "es una fecha o una hora; conviértala antes en un número, como una edad",
)
OTHER_TYPE = Word("it holds neither numbers nor text", "no contiene ni números ni texto")
NOTHING_IN_COMMON = Word(
    "no value of the seeds occurs among the prospects; the two tables seem to use different words or codes",
    "ningún valor de los clientes semilla aparece entre los prospectos; las dos tablas parecen usar palabras o códigos "
    "distintos",
)
TYPES_DIFFER = Word(
    "it holds numbers in one table and text in another, and they have no value in common",
    "contiene números en una tabla y texto en otra, y no tienen ningún valor en común",
)

OTHER = Word("other", "otros")
MISSING = Word("missing", "sin dato")


def es_number(value: int) -> str:
    """Return a whole number as Spanish writes it.

    Examples
    --------
    >>> es_number(12345)
    '12.345'
    """
    return f"{value:,}".replace(",", ".")


def es_decimal(value: float, digits: int) -> str:
    """Return a number as Spanish writes it, such as ``0,71``."""
    return f"{value:,.{digits}f}".translate(str.maketrans(",.", ".,"))


def not_in(tables: Sequence[str]) -> Word:
    """Say in which tables a column is not."""
    return Word(
        f"it is not in the table of {' and '.join(TABLES[name].en for name in tables)}",
        f"no está en la tabla de {' ni de '.join(TABLES[name].es for name in tables)}",
    )


def all_missing(table: str) -> Word:
    """Say in which table every value of a column is missing."""
    return Word(f"every value is missing among {TABLES[table].en}", f"faltan todos los valores en {TABLES[table].es}")


def verdict(auc: float, low: float) -> Word:
    """Return what an area under the curve says of the seeds, in a sentence.

    Parameters
    ----------
    auc
        Held out, 0 to 1.
    low
        Lower end of its interval.
    """
    if low <= 0.5:
        return Word(
            "By these columns the seeds cannot be told from the reference: the list is no better than one drawn at "
            "random. Other columns, or seeds that have more in common, may help.",
            "Con estas columnas los clientes semilla no se distinguen de la referencia: la lista no es mejor que una "
            "al azar. Otras columnas, o clientes semilla más parecidos entre sí, pueden ayudar.",
        )
    if auc < 0.6:
        return Word(
            "By these columns the seeds can be told from the reference only a little: expect a slight gain.",
            "Con estas columnas los clientes semilla apenas se distinguen de la referencia: espere una mejora ligera.",
        )
    if auc < 0.7:
        return Word(
            "By these columns the seeds can be told from the reference in part: a useful list, with many exceptions.",
            "Con estas columnas los clientes semilla se distinguen en parte de la referencia: una lista útil, con "
            "muchas excepciones.",
        )
    return Word(
        "By these columns the seeds can be told from the reference well.",
        "Con estas columnas los clientes semilla se distinguen bien de la referencia.",
    )


def too_good(column: str, auc: float) -> Word:
    """Warn of a column that tells seeds from the reference nearly alone."""
    return Word(
        f"{column} alone tells seeds from the reference nearly without error (AUC {auc:.2f}). Perhaps the tables were "
        "filled in differently, and it says nothing of people; look at it, or leave it out of columns=.",
        f"{column} basta por sí sola para distinguir casi sin error los clientes semilla de la referencia (AUC "
        f"{es_decimal(auc, 2)}). Quizá las tablas se rellenaron de forma distinta y no dice nada de las personas; "
        "revísela, o déjela fuera de columns=.",
    )


def missing_differs(column: str, seeds: float, reference: float) -> Word:
    """Warn of a column that is missing much more often in one table."""
    return Word(
        f"{column} is missing for {seeds:.0%} of the seeds and {reference:.0%} of the reference. Where that comes from "
        "how the tables were filled in, leave it out of columns=, or give a reference= from the same table as the "
        "seeds.",
        f"{column} falta en el {100 * seeds:.0f} % de los clientes semilla y en el {100 * reference:.0f} % de la "
        "referencia. Si se debe a cómo se rellenaron las tablas, déjela fuera de columns=, o indique una reference= de "
        "la misma tabla que los clientes semilla.",
    )


def few_seeds(seeds: int) -> Word:
    """Warn that seeds are too few to judge by."""
    return Word(
        f"{seeds:,} seeds are few: what they have in common may be chance.",
        f"{es_number(seeds)} clientes semilla son pocos: lo que tienen en común puede ser casualidad.",
    )


def more_seeds(seeds: int, prospects: int) -> Word:
    """Warn of more seeds than prospects."""
    return Word(
        f"There are more seeds ({seeds:,}) than prospects ({prospects:,}). Were the two files swapped?",
        f"Hay más clientes semilla ({es_number(seeds)}) que prospectos ({es_number(prospects)}). ¿Se han "
        "intercambiado los dos archivos?",
    )


def fewer_than_asked(given: int, asked: int) -> Word:
    """Say that there are fewer prospects than were asked for."""
    return Word(
        f"Asked for {asked:,}; the list holds all {given:,} prospects, ranked.",
        f"Se pidieron {es_number(asked)}; la lista contiene los {es_number(given)} prospectos, ordenados.",
    )


def unlike(count: int, of: int) -> Word:
    """Say how many of the list are less typical of the seeds than of the reference."""
    return Word(
        f"{count:,} of the {of:,} in the list have a similarity under 0.5: their values are rarer among the seeds than "
        "in the reference. A smaller k= leaves them out.",
        f"{es_number(count)} de los {es_number(of)} de la lista tienen una similitud inferior a 0,5: sus valores son "
        "menos frecuentes entre los clientes semilla que en la referencia. Con un k= menor quedan fuera.",
    )


def not_found(missing: int, of: int, where: str) -> Word:
    """Say how many seeds have no row in the table of attributes."""
    return Word(
        f"{missing:,} of {of:,} seeds are not in {where} and were left out.",
        f"{es_number(missing)} de {es_number(of)} clientes semilla no están en {where} y quedaron fuera.",
    )


def rows_dropped(table: str, repeated: int, without_id: int) -> Word:
    """Say how many rows of a table repeat an id or have none."""
    return Word(
        f"Among {TABLES[table].en} {repeated:,} rows repeat a customer_id (the first one counts) and {without_id:,} "
        "have none (left out).",
        f"En {TABLES[table].es}, {es_number(repeated)} filas repiten un customer_id (vale la primera) y "
        f"{es_number(without_id)} no lo tienen (quedan fuera).",
    )


def infinite(column: str, count: int) -> Word:
    """Say that infinite values count as missing."""
    return Word(
        f"{column}: {count:,} infinite values count as missing.",
        f"{column}: {es_number(count)} valores infinitos cuentan como sin dato.",
    )
