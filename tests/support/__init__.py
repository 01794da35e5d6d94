"""What several test folders share: a running embedded staging and waiting with a deadline."""
