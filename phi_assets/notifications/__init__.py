"""Sends failures from Dagster's event log to a webhook: event_log, deduplicate, outbox, send."""
