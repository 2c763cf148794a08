"""Jobs and watches."""
