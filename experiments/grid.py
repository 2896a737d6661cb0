"""From the settings of ``cartera sweep`` to the axes of its grid, and back to the command for one point of it."""

from __future__ import annotations

import hashlib
import json
import shlex
from typing import TYPE_CHECKING, Any

from engine.errors import SettingError

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from engine.sweeps.leaderboard import Leaderboard
    from experiments.settings import FeaturesConfig, SweepConfig

FREE_OF_RESULTS = ("out", "tracking", "compute", "language")
"""Groups and keys that change nothing in what a sweep finds."""

REPLACED = ("sweep", "out", "tracking", "features", "clustering", "seed", "evidence", "compute", "language", "hydra")
"""Groups and keys that the command for one point of the grid says itself, or does not need."""


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
    # The user's own folders (--config-dir) count too.
    options = GlobalHydra.instance().config_loader().get_group_options("features")
    overrides = [each for each in HydraConfig.get().overrides.task if not each.startswith("features=")]
    found = {}
    for name in c.sweep.features:
        if name not in options:
            raise SettingError.from_unknown("sweep.features", name, options)
        found[name] = typed(compose("sweep", [*overrides, f"features={name}"]), Kind).features
    if len(found) < len(c.sweep.features):
        raise SettingError(f"sweep.features: a name comes twice in {', '.join(c.sweep.features)}.")
    return found


def wanted_ks(c: SweepConfig) -> tuple[int, ...]:
    """Return the numbers of segments to try, ascending."""
    from engine.segmentation import parse_k

    if c.sweep.k is None or c.sweep.k == "auto":
        return tuple(parse_k(c.clustering.ks()))
    if c.sweep.k == []:
        raise SettingError("sweep.k: expected at least one value to try; got none.")
    try:
        return tuple(parse_k(c.sweep.k))
    except SettingError:
        raise SettingError(
            "sweep.k: expected a range such as 2..10, numbers of at least 1 such as [3,5,8], or null for clustering.k; "
            f"got {c.sweep.k!r}."
        ) from None


def configuration_hash(config: DictConfig) -> str:
    """Return 12 hexadecimal digits of a hash of everything in the configuration that decides what is found."""
    from omegaconf import OmegaConf

    content: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    for key in FREE_OF_RESULTS:
        content.pop(key, None)
    content.get("sweep", {}).pop("resume", None)
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:12]


def command_for(board: Leaderboard) -> str | None:
    """Return the command that makes the proposed segmentation, with the user's own settings of data and customers."""
    from hydra.core.hydra_config import HydraConfig

    if board.proposed is None:
        return None
    given = HydraConfig.get().overrides.task
    kept = [each for each in given if each.lstrip("+~").partition("=")[0].partition(".")[0] not in REPLACED]
    kept += [each for each in given if each.lstrip("+").startswith("features.")]
    one = board.proposed
    words = [
        *kept,
        f"features={one.features}",
        f"features.transform={one.transform}",
        f"clustering.backend={one.backend}",
        f"clustering.k={one.k}",
        f"seed={one.best.seed}",
    ]
    return "cartera segment " + " ".join(shlex.quote(word) for word in words)
