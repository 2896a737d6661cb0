"""What can be known of a ``-m`` sweep before its first job: its jobs, what they differ by, and what cannot work."""

from __future__ import annotations

import importlib
import itertools
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import MissingExtraError, SettingError
from experiments.jobs import shown

if TYPE_CHECKING:
    from omegaconf import DictConfig

OPTUNA = "hydra_plugins.hydra_optuna_sweeper"


def check_sweeper(config: DictConfig) -> None:
    """Find Optuna before anything is begun, and keep it from talking."""
    if not str(config.hydra.sweeper.get("_target_", "")).startswith(OPTUNA):
        return
    try:
        with warnings.catch_warnings():
            # Optuna 2 speaks of SQLAlchemy's deprecations on import.
            warnings.simplefilter("ignore")
            importlib.import_module(f"{OPTUNA}._impl")
            optuna = importlib.import_module("optuna")
    except ImportError:
        raise MissingExtraError(
            "hydra/sweeper: this search needs Optuna, which is not installed. Try: pip install 'cartera[optuna]'."
        ) from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    # The failures it would report were told by the jobs themselves.
    logging.getLogger(OPTUNA).setLevel(logging.CRITICAL)


def plan(config: DictConfig) -> tuple[set[str], list[list[str]] | None]:
    """Return the keys whose values differ between jobs, and each job's overrides where they are known beforehand."""
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.override_parser.overrides_parser import OverridesParser

    hydra = GlobalHydra.instance().hydra
    assert hydra is not None
    parser = OverridesParser.create(config_loader=hydra.config_loader)
    sweeper = config.hydra.sweeper
    params = [f"{key}={value}" for key, value in (sweeper.get("params") or {}).items()]
    overrides = parser.parse_overrides([*params, *map(str, config.hydra.overrides.task)])
    values: dict[str, list[str] | None] = {}
    keys: set[str] = set()
    for override in overrides:
        key = override.get_key_element()
        if override.is_sweep_override():
            keys.add(key.lstrip("+~"))
            discrete = override.is_discrete_sweep()
            values[key] = [f"{key}={value}" for value in override.sweep_string_iterator()] if discrete else None
        else:
            keys.discard(key.lstrip("+~"))
            values[key] = [f"{key}={override.get_value_element_as_str()}"]
    if "out" in keys:
        raise SettingError("out: expected one folder for the whole sweep (-m); each job gets a numbered folder in it.")
    if "BasicSweeper" not in str(sweeper._target_):
        return keys, None
    for key, each in values.items():
        if each is None:
            raise SettingError(
                f"{key}: an interval has no end of values to run; write those you want, {key}=a,b or range(a,b), "
                "or let Optuna search it (hydra/sweeper=search)."
            )
    return keys, [list(job) for job in itertools.product(*(each for each in values.values() if each is not None))]


def compositions(config: DictConfig, planned: Sequence[Sequence[str]]) -> list[DictConfig]:
    """Compose jobs until each value was part of one: a wrong one is found before anything is begun."""
    from hydra.core.global_hydra import GlobalHydra

    hydra = GlobalHydra.instance().hydra
    assert hydra is not None
    seen: set[str] = set()
    composed: list[DictConfig] = []
    for overrides in planned:
        if not seen.issuperset(overrides):
            composed.append(hydra.config_loader.load_sweep_config(config, list(overrides)))
            seen.update(overrides)
    return composed


def check_inputs(config: DictConfig, out: Path) -> None:
    """Refuse a sweep that reads what it might replace."""
    from omegaconf import OmegaConf

    for key in ("lake", "bundle", "customers", "assignments", "baskets.path", "data.path"):
        value = OmegaConf.select(config, key, throw_on_missing=False)
        if isinstance(value, str) and Path(value).resolve().is_relative_to(out.resolve()):
            raise SettingError(f"out={shown(out)}: {value} lies inside it and might be replaced. Choose another out=.")


def threads_each(config: DictConfig) -> int | None:
    """Return how many threads each job may use so that all together use the cores once."""
    jobs = config.hydra.launcher.get("n_jobs")
    if jobs is None:
        return None
    if jobs == 0:
        raise SettingError("hydra.launcher.n_jobs: expected the number of jobs at a time, or -1 for one a core; got 0.")
    from joblib import cpu_count  # type: ignore[import-untyped]

    cores = int(cpu_count())
    together = int(jobs) if jobs > 0 else max(1, cores + 1 + int(jobs))
    return max(1, cores // together)
