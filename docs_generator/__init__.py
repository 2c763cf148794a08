"""Writes what the documentation takes from the code: reference pages, `.env.example`, pictures; checks the site."""
