"""Cloud Armor: the security policy that decides at the ingress which source addresses get in."""
