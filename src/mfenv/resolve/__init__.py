"""From requests to resolved environments: a seam, its backends, and the service that runs them."""
