"""Many models in one process: feature sets, transforms, backends, k and seeds, tried, ranked and explained."""
