"""Windows, manifests and listing: which raw object belongs to which batch."""
