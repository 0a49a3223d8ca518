"""`make demo`: three models from training to predictions on a real cluster, told as a story."""
