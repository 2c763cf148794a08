"""Jobs, sensors, schedules and freshness checks."""
