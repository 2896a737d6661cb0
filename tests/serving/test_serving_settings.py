from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir

from engine.errors import CarteraError
from engine.serving.settings import ServeSettings
from experiments.app import config_dir
from experiments.serve import serve_settings
from experiments.settings import ServeConfig, typed


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_needs_nothing(host: str) -> None:
    settings = ServeSettings(host=host)
    assert settings.loopback
    assert not settings.secure
    assert {"localhost", "127.0.0.1", "[::1]"} <= settings.host_names


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"host": "0.0.0.0"}, "action=token"),
        ({"host": "192.168.1.5", "tokens": True}, "tls_certificate"),
        ({"host": "::", "tokens": True, "behind_proxy": True}, "serve.hosts"),
        ({"host": "10.0.0.1", "tokens": True, "behind_proxy": True, "metrics_public": True}, "metrics_public"),
        ({"behind_proxy": True, "metrics_public": True}, "metrics_public"),
        ({"tls_key": True}, "both, or neither"),
        ({"tokens": Path("none")}, "no such file"),
        ({"port": 70_000}, "serve.port"),
        ({"port": -1}, "serve.port"),
        ({"workers": 0}, "serve.workers"),
        ({"max_rows": 0}, "serve.max_rows"),
        ({"max_body_mib": 0}, "serve.max_body_mib"),
        ({"max_body_mib": float("nan")}, "serve.max_body_mib"),
        ({"rate": 0}, "serve.rate"),
        ({"proxies": ("proxy",)}, "serve.proxies"),
        ({"hosts": ("http://a",)}, "serve.hosts"),
        ({"hosts": ("*",)}, "serve.hosts"),
        ({"log": "xml"}, "serve.log"),
        ({"language": "fr"}, "language"),
    ],
)
def test_what_is_refused(given: dict[str, Any], says: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    given = {key: file if value is True and key in ("tokens", "tls_key") else value for key, value in given.items()}
    with pytest.raises(CarteraError, match=says.replace(".", r"\.")):
        ServeSettings(**given)


def test_beyond_this_machine_behind_a_proxy_or_with_tls(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    proxied = ServeSettings(host="0.0.0.0", tokens=file, behind_proxy=True, hosts=("Segments.Example",))
    assert proxied.host_names == {"0.0.0.0", "segments.example"}
    assert proxied.secure
    assert ServeSettings(host="10.0.0.1", tokens=file, tls_certificate=file, tls_key=file).secure


def test_the_configuration_s_defaults_are_the_engine_s() -> None:
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        assert serve_settings(typed(compose("serve"), ServeConfig)) == ServeSettings()
