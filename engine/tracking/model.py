"""The segmentation as an MLflow model: a bundle, a few lines that load it, and no customer."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from engine.segments.model import SegmentModel

log = logging.getLogger(__name__)

REGISTERED_NAME = "cartera-segments"
"""Name in MLflow's registry where nothing else is asked for."""

PARAMS: dict[str, bool | str] = {"impute": True, "language": "en"}
"""What a call may set, and its default."""

RUNTIME = ("mlflow", "numpy", "pandas", "polars")
"""What a prediction needs beside this package."""


def predict(model: SegmentModel, customers: pd.DataFrame, *, impute: bool = True, language: str = "en") -> pd.DataFrame:
    """Return the segment of each row, in the order of the rows.

    Parameters
    ----------
    model
        From a bundle.
    customers
        The model's variables in business units, one customer a row; missing is NaN. Other columns are left aside, so
        that no id goes in.
    impute
        Whether missing values are filled as at fit, with a warning, as `cartera score` does for a base; otherwise they
        are refused, as it does for one customer.
    language
        Of the names: ``en`` or ``es``.

    Returns
    -------
    pd.DataFrame
        ``segment_id, name, distance, margin, second_segment_id, novel``, with the index of ``customers``.

    Raises
    ------
    ColumnsMissingError
        A variable is not there.
    DataError
        A value is no number, infinite, impossible, or missing and not to be filled.
    """
    import pandas as pd
    import polars as pl

    from engine.errors import DataError
    from engine.schema import require_columns

    names = model.spec.names
    require_columns(customers.columns, names, where="customers")
    try:
        values = {name: np.asarray(customers[name], dtype=np.float64) for name in names}
    except (TypeError, ValueError) as error:
        raise DataError(f"customers: expected a number for each of {', '.join(names)} ({error}).") from None
    missing = {name: int(np.isnan(column).sum()) for name, column in values.items()}
    shown = ", ".join(f"{name} in {count} of {len(customers)}" for name, count in missing.items() if count)
    if shown and not impute:
        raise DataError(f"customers: no value for {shown}. Fill them, or set impute=true to fill them as at fit.")
    if shown:
        log.warning("customers: no value for %s; filled as at fit", shown)
    order = pl.Series(np.arange(len(customers)))
    assigned = model.table(order, model.nearest(pl.DataFrame(values)), language=language).drop("customer_id")
    return pd.DataFrame(assigned.to_dict(as_series=False), index=customers.index)


def pyfunc_model() -> Any:
    """Return the object that MLflow calls; the bundle is read when MLflow gives its folder."""
    import pandas as pd
    from mlflow.exceptions import MlflowException
    from mlflow.pyfunc.model import PythonModel

    from engine.errors import CarteraError

    def answer(self: Any, context: Any, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        try:
            return predict(self.model, model_input, **{**PARAMS, **(params or {})})
        except CarteraError as error:
            # Only its own errors does MLflow's server answer with the reason.
            raise MlflowException.invalid_parameter_value(str(error)) from error

    # MLflow warns of a method without a hint that it knows, and of each hint that says nothing to it.
    answer.__annotations__ = {"model_input": pd.DataFrame}

    class Segments(PythonModel):
        """The segments of a bundle behind MLflow's interface."""

        predict = answer

        def load_context(self, context: Any) -> None:
            from engine.bundle import load_bundle

            self.model = load_bundle(context.artifacts["bundle"])

    return Segments()


def log_model(
    client: Any, experiment_id: str, run_id: str, bundle: Path, name: str, registered_name: str | None
) -> str:
    """Record a bundle as a model of a run, registered where a name is given, and return the model's id.

    A model of that name that the run has already is not recorded again.
    """
    from mlflow.entities import LoggedModelOutput

    same = f"name = '{name}' AND source_run_id = '{run_id}'"
    there = list(client.search_logged_models([experiment_id], same))
    if there and str(there[0].status) == "READY":
        model_id = str(there[0].model_id)
    else:
        made = there[0] if there else client.create_logged_model(experiment_id, name, source_run_id=run_id)
        model_id = str(made.model_id)
        with tempfile.TemporaryDirectory() as scratch, _quiet():
            folder = Path(scratch) / "model"
            save_model(bundle, folder, run_id=run_id, model_id=model_id, location=str(made.artifact_location))
            client.log_model_artifacts(model_id, str(folder))
        outputs = client.get_run(run_id).outputs
        if outputs is None or model_id not in {output.model_id for output in outputs.model_outputs}:
            client.log_outputs(run_id, [LoggedModelOutput(model_id, step=0)])
        client.finalize_logged_model(model_id, "READY")
    if registered_name is not None:
        _register(client, registered_name, run_id, model_id)
    return model_id


def save_model(bundle: Path, folder: Path, *, run_id: str, model_id: str, location: str) -> None:
    """Write the folder that MLflow reads a model from."""
    import mlflow.pyfunc
    import pandas as pd
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

    from engine import __version__
    from engine.bundle import load_bundle

    model = load_bundle(bundle)
    kinds = {
        "segment_id": "string",
        "name": "string",
        "distance": "double",
        "margin": "double",
        "second_segment_id": "string",
        "novel": "boolean",
    }
    signature = ModelSignature(
        inputs=Schema([ColSpec("double", column) for column in model.spec.names]),
        outputs=Schema([ColSpec(kind, column) for column, kind in kinds.items()]),
        params=ParamSchema([ParamSpec("impute", "boolean", True), ParamSpec("language", "string", "en")]),
    )
    centroids = pd.DataFrame(model.spec.inverse(model.centroids), columns=model.spec.names)
    described = Model(artifact_path=location, run_id=run_id, model_uuid=model_id, model_id=model_id)
    mlflow.pyfunc.save_model(
        path=str(folder),
        mlflow_model=described,
        python_model=str(Path(__file__).with_name("model_code.py")),
        artifacts={"bundle": str(bundle)},
        signature=signature,
        # Centroids in business units: whole customers, none of them real.
        input_example=centroids,
        pip_requirements=[f"cartera=={__version__}", *(f"{package}=={version(package)}" for package in RUNTIME)],
    )
    # Where the files came from is of no use elsewhere, and may name a person's home.
    flavor = described.flavors["python_function"]
    flavor["model_code_path"] = "model_code.py"
    flavor["artifacts"]["bundle"]["uri"] = flavor["artifacts"]["bundle"]["path"]
    described.save(str(folder / "MLmodel"))


def _register(client: Any, registered_name: str, run_id: str, model_id: str) -> None:
    from mlflow.exceptions import MlflowException

    # By models:/ID as its source MLflow would look in the store of its global state.
    source = client.get_logged_model(model_id).artifact_location
    if any(made.source == source for made in client.search_model_versions(f"name = '{registered_name}'")):
        return
    try:
        client.create_registered_model(registered_name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    client.create_model_version(registered_name, source=source, run_id=run_id, model_id=model_id)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep back what MLflow says about models in general; its own import warns of its own hints."""
    logger = logging.getLogger("mlflow")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
