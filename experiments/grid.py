"""From the settings of ``cartera sweep`` to the axes of its grid, and back to the command for one point of it."""

from __future__ import annotations

import hashlib
import json
import shlex
from typing import TYPE_CHECKING, Any, TypeVar

from engine.errors import SettingError

Value = TypeVar("Value")

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from engine.sweeps.leaderboard import Leaderboard
    from experiments.settings import FeaturesConfig, SweepConfig

EXAMPLES = {"features": "[rfm,rfm_units]", "transform": "[log,none]"}

FREE_OF_RESULTS = ("out", "tracking", "compute", "language")
"""Groups and keys that change nothing in what a sweep finds."""

REPLACED = ("sweep", "out", "tracking", "features", "clustering", "seed", "evidence", "compute", "hydra")
"""Groups and keys that the command for one point of the grid says itself, or does not need."""


def axis(name: str, values: Any, kind: type[Value]) -> tuple[Value, ...]:
    """Return the values of one axis of the grid; a single value is an axis too.

    Examples
    --------
    >>> axis("seed", [0, 1], int), axis("backend", "native", str)
    ((0, 1), ('native',))
    """
    listed = values if isinstance(values, list) else [values]
    if not listed:
        raise SettingError(f"sweep.{name}: expected at least one value to try; got none.")
    if not all(isinstance(value, kind) and not isinstance(value, bool) for value in listed):
        example = "[0,1,2]" if kind is int else EXAMPLES.get(name, "[native,faiss]")
        raise SettingError(f"sweep.{name}: expected a list such as {example}, or null; got {values!r}.")
    return tuple(listed)


def feature_configs(c: SweepConfig) -> dict[str, FeaturesConfig]:
    """Return the group ``features`` for each named set, with the user's other overrides of it applied to all.

    Raises
    ------
    SettingError
        A name is no option of the group.
    """
    from hydra import compose
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.hydra_config import HydraConfig

    from experiments.settings import SweepConfig as Kind
    from experiments.settings import typed

    if c.sweep.features is None:
        return {c.features.name: c.features}
    names = axis("features", c.sweep.features, str)
    # The user's own folders (--config-dir) count too.
    options = GlobalHydra.instance().config_loader().get_group_options("features")
    overrides = [each for each in HydraConfig.get().overrides.task if not each.startswith("features=")]
    found = {}
    for name in names:
        if name not in options:
            raise SettingError.from_unknown("sweep.features", name, options)
        found[name] = typed(compose("sweep", [*overrides, f"features={name}"]), Kind).features
    if len(found) < len(names):
        raise SettingError(f"sweep.features: a name comes twice in {', '.join(names)}.")
    return found


def wanted_ks(c: SweepConfig) -> tuple[int, ...]:
    """Return the numbers of segments to try, ascending."""
    from engine.segmentation import parse_k

    if c.sweep.k is None or c.sweep.k == "auto":
        return tuple(parse_k(c.clustering.ks()))
    try:
        return tuple(parse_k(axis("k", c.sweep.k, int) if isinstance(c.sweep.k, list) else c.sweep.k))
    except SettingError as error:
        raise SettingError(str(error).replace("clustering.k", "sweep.k")) from None


def configuration_hash(config: DictConfig) -> str:
    """Return 12 hexadecimal digits of a hash of everything in the configuration that decides what is found."""
    from omegaconf import OmegaConf

    content: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    for key in FREE_OF_RESULTS:
        content.pop(key, None)
    for key in ("resume", "parity"):
        content.get("sweep", {}).pop(key, None)
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:12]


def command_for(board: Leaderboard) -> str | None:
    """Return the command that makes the proposed segmentation, with the user's own settings of data and customers."""
    from hydra.core.hydra_config import HydraConfig

    if board.proposed is None:
        return None
    given = HydraConfig.get().overrides.task
    kept = [each for each in given if each.lstrip("+~").partition("=")[0].partition(".")[0] not in REPLACED]
    kept += [each for each in given if each.lstrip("+").startswith("features.")]
    # The folders of --config-dir: without them the user's own groups would be unknown.
    folders = [source.path for source in HydraConfig.get().runtime.config_sources if source.provider == "command-line"]
    kept = [word for folder in folders for word in ("--config-dir", folder)] + kept
    one = board.proposed
    words = [
        *kept,
        f"features={one.features}",
        f"features.transform={one.transform}",
        f"clustering.backend={one.backend}",
        f"clustering.k={one.k}",
        f"seed={one.best.seed}",
    ]
    plan = one.outcomes[0].plan
    words += [f"clustering.solver={plan.solver}"] if plan.solver != "auto" else []
    for name, limit in (("max_passes", plan.max_passes), ("max_seconds", plan.max_seconds)):
        words += [] if limit is None else [f"clustering.{name}={limit}"]
    return "cartera segment " + " ".join(shlex.quote(word) for word in words)
