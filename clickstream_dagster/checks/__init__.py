"""Asset checks: what must hold for the numbers to be trusted."""
