"""What triage's answers mean: a module for each kind of alert, and the order among them."""
