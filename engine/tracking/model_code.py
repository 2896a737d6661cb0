"""What MLflow runs to load a segmentation: it is copied into the model, which holds a bundle and no pickle."""

from __future__ import annotations

# MLflow runs the file under a name of its own; a tool that imports the package's modules must not set MLflow's model.
if __name__ != "engine.tracking.model_code":
    from mlflow.models import set_model

    from engine.tracking.model import pyfunc_model

    set_model(pyfunc_model())
