"""An open-loop load generator for many tenants: requests come when they come, served or not."""
