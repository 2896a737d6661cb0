"""One file per verb of the command line; only here is a Hydra configuration seen."""
