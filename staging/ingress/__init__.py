"""The load balancer in front of the instances: a real haproxy, changed while it runs."""
