from __future__ import annotations

import pytest

from engine.errors import SettingError
from engine.tracking import check_registered_name

NAMES = ["customer-segments", "Clientes de México", "a.b", ".hidden", "v1..2", " x ", "a\\b"]
REFUSED = ["", "  ", "\t", "a/b", "/a", "a/", "models:a", ":", ".", "..", "..a", "../a"]


@pytest.mark.parametrize("name", NAMES)
def test_names_that_mlflow_takes(name: str) -> None:
    from mlflow.utils.validation import _validate_model_name

    check_registered_name(name)
    _validate_model_name(name)


@pytest.mark.parametrize("name", REFUSED)
def test_names_that_mlflow_refuses(name: str) -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.utils.validation import _validate_model_name

    with pytest.raises(MlflowException):
        _validate_model_name(name)
    with pytest.raises(SettingError, match=r"^tracking\.register: .* such as customer-segments; got ") as caught:
        check_registered_name(name)
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize("name", ["ana's", 'the "best"'])
def test_names_that_cannot_be_searched_for(name: str) -> None:
    with pytest.raises(SettingError, match="quotes"):
        check_registered_name(name)
