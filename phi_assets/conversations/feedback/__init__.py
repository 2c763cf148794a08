"""Ratings of the chat's answers, on their way to training data: candidates, reviews, rows."""
