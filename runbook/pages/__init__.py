"""What the pages are made of: commands from steps, thresholds from rules, proof from results."""
