"""The HTTP server of one language model that runs behind the endpoint, on a laptop and on Azure."""
