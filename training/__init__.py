"""Training: from phantoms or a hospital's own cases to a model bundle. Never touches the daemon's store."""
