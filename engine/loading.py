"""Reading what was saved, of whatever kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.bundle import load_bundle
from engine.errors import SourceNotFoundError


# Who calls knows which of the two is there, and a union would have to be narrowed at every call.
def load(path: Path | str) -> Any:
    """Read what was saved: a model of segments, or a recommender; its manifest says which of the two.

    Parameters
    ----------
    path
        A folder that ``save`` wrote, of a segmentation or of a recommender; of ``cartera segment`` the folder
        ``bundle``, of ``cartera recommend`` the folder ``recommender``.

    Returns
    -------
    engine.segments.model.SegmentModel or engine.recommend.recommender.CustomerRecommender

    Raises
    ------
    SourceNotFoundError
        There is no such folder.
    BundleError
        It is another one, damaged, or of another version.

    Examples
    --------
    >>> import tempfile
    >>> from engine.recommend.recommender import CustomerRecommender
    >>> from engine.recommend.synthetic import habits
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     CustomerRecommender.fit(habits(customers=300, products=40, seed=0)).save(folder)
    ...     load(folder)
    <CustomerRecommender: 300 customers, 40 products, 0 segments, for 1971-01-01>
    """
    from engine.recommend.recommender_folder import is_recommender

    folder = Path(path)
    if is_recommender(folder):
        from engine.recommend.recommender import CustomerRecommender

        return CustomerRecommender.open(folder)
    inner = next((name for name in ("bundle", "recommender") if (folder / name / "manifest.json").is_file()), None)
    if inner is not None and not (folder / "manifest.json").is_file():
        raise SourceNotFoundError(
            f"load: expected a folder with manifest.json; {folder} is that of a whole run. Take {folder / inner}."
        )
    return load_bundle(folder)
