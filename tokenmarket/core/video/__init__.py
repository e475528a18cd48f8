"""Video tasks, pure: requests, capabilities, states, projections and webhooks."""
