"""A Kubernetes API for one Deployment and its pods, which are real processes of the fleet."""
