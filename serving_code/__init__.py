"""What answers behind the endpoint, on a laptop and on Azure alike: one HTTP server around one language model."""
