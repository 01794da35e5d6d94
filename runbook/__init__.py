"""What a responder does: one module a step of the incident workflow."""
